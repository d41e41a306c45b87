"""The agent of servers under test: does what the user message says.

A text of ``script_of`` is played; ``/raise`` fails in a way nobody expected; all else is the demo agent's.
"""

from __future__ import annotations

import asyncio
import base64
import pickle
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from chat.agents.base import TurnContext
from chat.agents.demo import DemoAgent

MARK = "script:"


@dataclass(frozen=True)
class Pause:
    """A script's entry: wait."""

    seconds: float


def script_of(output: Sequence[Any], pause: float = 0.0) -> str:
    """The user message that makes the agent yield ``output``, whatever that is, with a pause after each entry."""
    entries = [entry for item in output for entry in (item, Pause(pause))] if pause else list(output)
    return MARK + base64.b64encode(pickle.dumps(entries)).decode()


class ScriptedAgent:
    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        text = turn.text
        if text.startswith(MARK):
            for entry in pickle.loads(base64.b64decode(text.removeprefix(MARK))):
                if isinstance(entry, Pause):
                    await asyncio.sleep(entry.seconds)
                else:
                    yield entry
        elif text == "/raise":
            yield {"type": "text-delta", "id": "1", "delta": "Well, "}
            raise LookupError("nobody expected this")
        else:
            async for chunk in DemoAgent().run(turn):
                yield chunk


agent = ScriptedAgent()
