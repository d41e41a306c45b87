"""An agent that plays scripts: ``CHAT_AGENT = "chat.testing.scripted.agent"``, and the user message is the script.

A test says what the model answers, across processes, without a table of answers on the server::

    await client.send("thread", script_of([TEXT, Pause(0.5), Raise("the provider is down")]))
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from chat.agents import demo
from chat.agents.base import Agent, TurnContext
from chat.protocol.chunks import Chunk

MARK = "script:"


@dataclass(frozen=True)
class Pause:
    """A script's entry: wait for so many seconds."""

    pause: float


@dataclass(frozen=True)
class Raise:
    """A script's entry: fail, in a way that no agent announces."""

    error: str


Entry = Chunk | Pause | Raise


def script_of(entries: Sequence[Entry], pause: float = 0.0) -> str:
    """The user message that makes the agent yield these chunks, with ``pause`` seconds after each."""
    told = [entry if isinstance(entry, dict) else asdict(entry) for entry in entries]
    return MARK + orjson.dumps([one for entry in told for one in (entry, {"pause": pause})] if pause else told).decode()


class ScriptedAgent:
    """Plays the script of the user message; all else is said by another agent, the demo's by default."""

    def __init__(self, otherwise: Agent = demo.agent) -> None:
        self._otherwise = otherwise

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        if not turn.text.startswith(MARK):
            async for chunk in self._otherwise.run(turn):
                yield chunk
            return
        for entry in orjson.loads(turn.text.removeprefix(MARK)):
            if "pause" in entry:
                await asyncio.sleep(entry["pause"])
            elif "error" in entry:
                raise RuntimeError(entry["error"])
            else:
                yield entry


agent = ScriptedAgent()
