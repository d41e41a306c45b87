"""The Pydantic AI agent and the models that the settings name."""

from __future__ import annotations

import asyncio
import inspect
import os
from functools import lru_cache
from typing import Any, cast
from weakref import WeakKeyDictionary

from django.utils.module_loading import import_string
from pydantic_ai import Agent
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.models import Model, infer_model

from chat import conf
from chat.agents.base import TurnContext
from chat.agents.models import ANY, allowed_models, is_allowed

AnyAgent = AbstractAgent[TurnContext, Any]

# A model holds its provider's connections, which belong to a loop. Those that were used last are kept: where any model
# is allowed, clients make up the names.
MOST_MODELS = 64
_models: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Model]] = WeakKeyDictionary()


def configured_agent() -> AnyAgent:
    """The agent of CHAT_PYDANTIC_AGENT, or a plain one. Raises ImportError, TypeError, or what a factory raises."""
    return _agent(conf.get("PYDANTIC_AGENT"), conf.get("INSTRUCTIONS"))


@lru_cache(maxsize=4)
def _agent(path: str, instructions: str) -> AnyAgent:
    if not path:
        return cast(AnyAgent, Agent(instructions=instructions or None, deps_type=TurnContext, name="chat"))
    found = import_string(path)
    if not isinstance(found, AbstractAgent) and callable(found) and not inspect.isclass(found):
        found = found()
    if not isinstance(found, AbstractAgent):
        raise TypeError(f"CHAT_PYDANTIC_AGENT = {path!r} is a {type(found).__name__}, no Pydantic AI agent.")
    return found


async def model_of(turn: TurnContext) -> Model | None:
    """The model that the turn was to be answered with, else CHAT_MODEL's; None leaves it to the agent.

    A model that is not allowed (any more; a thread may have chosen it long ago) is not asked.
    """
    name = turn.model if turn.model and is_allowed(turn.model) else conf.get("MODEL")
    if not name:
        return None
    models = _models.setdefault(asyncio.get_running_loop(), {})
    model = models.pop(name, None)
    if model is None:
        # A provider's first client imports a hundred modules, which takes a second or two.
        model = await asyncio.to_thread(make_model, name)
    models[name] = model
    if len(models) > MOST_MODELS:
        del models[next(iter(models))]
    return model


def make_model(name: str) -> Model:
    """A model by the name that Pydantic AI gives it. Raises UserError or ValueError for one that cannot be.

    ``openai:`` with OPENAI_BASE_URL set is a server that speaks OpenAI's older and widest spread wire (Ollama, vLLM and
    the like); without it it is OpenAI's own newer one.
    """
    provider, _, model = name.partition(":")
    if provider == "openai-chat" or (provider == "openai" and os.environ.get("OPENAI_BASE_URL")):
        from chat.agents.pydantic_ai.openai_chat import ChatModel

        return ChatModel(model)
    return infer_model(name)


def problems() -> list[str]:
    """What keeps the configured agent and the models that may be chosen from being used."""
    try:
        agent = configured_agent()
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    found = []
    if agent.model is None and not conf.get("MODEL"):
        found.append("the Pydantic AI agent has no model: set CHAT_MODEL, or give it one.")
    for name in allowed_models():
        try:
            if name != ANY:
                make_model(name)
        except Exception as error:
            found.append(f"the model {name!r} cannot be used: {error}")
    return found
