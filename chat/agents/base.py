'''The agent contract: what a product brings, and what it is given.

An agent is an object with one method. It yields AI SDK UI message chunks, plain dicts; message ids, ``start``,
``finish``, steps around the content, order, repair and storing are the engine's work. This is a whole one::

    class Parrot:
        """Says what was said, word by word."""

        async def run(self, turn):
            words = turn.text.split()
            yield {"type": "text-start", "id": "1"}
            for word in words:
                yield {"type": "text-delta", "id": "1", "delta": word + " "}
            yield {"type": "text-end", "id": "1"}
            turn.usage.add(model="parrot", prompt_tokens=len(words), completion_tokens=len(words))

Name it in settings: ``CHAT_AGENT = "myproject.agents.Parrot"`` (a class, or an object made from one). To fail, raise
one of ``chat.agents.errors``; any other exception fails the turn as well, with a general text. Without CHAT_AGENT the
agent is ``chat.agents.pydantic_ai`` where CHAT_MODEL or CHAT_PYDANTIC_AGENT names something to drive, else the demo.
'''

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from django.utils.module_loading import import_string

from chat import conf
from chat.agents.errors import AgentError, AgentStalled
from chat.protocol.chunks import Chunk, Part
from chat.protocol.usage import UsageMeter

__all__ = ["Agent", "AgentError", "AgentStalled", "TurnContext", "agent_path", "load_agent"]

DEMO = "chat.agents.demo.agent"
PYDANTIC_AI = "chat.agents.pydantic_ai.agent"


@dataclass(slots=True)
class TurnContext:
    """What an agent is told of the turn it answers, and where it says what the turn cost.

    ``thread_id`` is the id of the conversation: a thread's, or a copilot chat's.
    ``history`` are AI SDK messages (``{"id", "role", "parts"}``), oldest first, made into what a provider accepts
    (``protocol.history``), the new user message last and, as the user wrote it, in ``message``. ``model`` is what the
    client, the thread or CHAT_MODEL chose, or empty. When the turn is stopped, the run is cancelled:
    ``asyncio.CancelledError`` comes up at the agent's next ``await``; let it pass, within a second.
    """

    thread_id: str
    turn_id: str
    user_id: Any
    history: list[dict[str, Any]]
    message: dict[str, Any]
    model: str = ""
    usage: UsageMeter = field(default_factory=UsageMeter)

    @property
    def text(self) -> str:
        """The plain text of the new user message."""
        return "".join(part["text"] for part in self.message["parts"] if part["type"] == "text")

    @property
    def answer(self) -> list[Part]:
        """What the turn has answered already: empty, unless it waited and goes on, when it is the last of
        ``history``. Calls that were decided on are in state ``approval-responded``, with
        ``approval: {id, approved, reason?, input?}`` (``input`` as the person changed it).
        """
        goes_on = bool(self.history) and self.history[-1]["role"] == "assistant"
        parts: list[Part] = self.history[-1]["parts"] if goes_on else []
        return parts


class Agent(Protocol):
    """Whatever answers. It may have two more methods.

    ``async title(turn) -> str``: a title for the thread that this turn has begun, which is called after the beginning
    of its first message until then, and stays so where this raises, gives nothing or takes CHAT_TITLE_SECONDS. It is
    asked beside ``run``; what it notes in ``turn.usage`` while the answer is being made counts for the turn.

    ``problems() -> list[str]``: what is wrong with its settings. It is asked by ``manage.py check`` and when a server
    starts, in a thread, so what is slow to load may be loaded there.
    """

    def run(self, turn: TurnContext) -> AsyncIterator[Chunk]: ...


def agent_path() -> str:
    """The dotted path of the agent that the settings choose."""
    if path := conf.get("AGENT"):
        return str(path)
    return PYDANTIC_AI if conf.get("MODEL") or conf.get("PYDANTIC_AGENT") else DEMO


def load_agent() -> Agent:
    """That agent. Raises whatever its module raises when imported; ``agents.defects`` tells what is wrong with it."""
    found = import_string(agent_path())
    return cast(Agent, found() if inspect.isclass(found) else found)
