"""The agent contract: what a product brings, and what it is given.

An agent is an object with one method. It yields AI SDK UI message chunks, plain dicts; message ids, ``start``,
``finish``, steps around the content, order, repair and storing are the engine's work. This is a whole one::

    class Parrot:
        async def run(self, turn):
            text = turn.text
            yield {"type": "text-start", "id": "1"}
            for word in text.split():
                yield {"type": "text-delta", "id": "1", "delta": word + " "}
            yield {"type": "text-end", "id": "1"}
            turn.usage.add(model="parrot", prompt_tokens=len(text), completion_tokens=len(text))

Name it in settings: ``CHAT_AGENT = "myproject.agents.Parrot"`` (a class, or an object made from one).
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from django.utils.module_loading import import_string

from chat import conf
from chat.errors import ChatError
from chat.protocol.chunks import Chunk
from chat.protocol.usage import UsageMeter


@dataclass(slots=True)
class TurnContext:
    """What an agent is told of the turn it answers, and where it says what the turn cost.

    ``thread_id`` is the id of the conversation: a thread's, or a copilot chat's. ``history`` are AI SDK messages
    (``{"id", "role", "parts"}``), oldest first, the new user message last and also in ``message``. When the turn is
    stopped, the run is cancelled: ``asyncio.CancelledError`` comes up at the agent's next ``await``; let it pass.
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


class Agent(Protocol):
    """Whatever answers. Raise ``AgentError`` to fail the turn with a text the user may read."""

    def run(self, turn: TurnContext) -> AsyncIterator[Chunk]: ...


class AgentError(ChatError):
    """The turn fails; ``code`` and text are shown to the user and kept. Any other exception fails it as well, with
    a general text: what it says may be secret.
    """

    code = "agent_error"
    message = "The assistant could not answer."


class AgentStalled(AgentError):
    """The agent gave no chunk for ``CHAT_STALL_SECONDS``."""

    code = "agent_stalled"
    message = "The assistant stopped answering."


def load_agent() -> Agent:
    """The agent that ``CHAT_AGENT`` names. Raises ImportError, or TypeError for what is none."""
    found = import_string(conf.get("AGENT"))
    agent = found() if inspect.isclass(found) else found
    if not callable(getattr(agent, "run", None)):
        raise TypeError(f"CHAT_AGENT = {conf.get('AGENT')!r} has no method run(turn).")
    return cast(Agent, agent)
