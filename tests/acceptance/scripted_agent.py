"""The scripted agent of the fault kit, for scripts that hold what no JSON can: an agent may yield anything.

``/raise`` fails in a way nobody expected.
"""

from __future__ import annotations

import asyncio
import base64
import pickle
from collections.abc import AsyncIterator, Sequence
from typing import Any

from chat.agents.base import TurnContext
from chat.testing.scripted import ScriptedAgent

MARK = "odd:"
BREATH = 0.001


def odd_script(output: Sequence[Any]) -> str:
    """The user message that makes the agent yield ``output``, whatever that is, with a breath after each."""
    return MARK + base64.b64encode(pickle.dumps(list(output))).decode()


class OddAgent:
    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        if turn.text.startswith(MARK):
            for item in pickle.loads(base64.b64decode(turn.text.removeprefix(MARK))):
                yield item
                await asyncio.sleep(BREATH)
        elif turn.text == "/raise":
            yield {"type": "text-delta", "id": "1", "delta": "Well, "}
            raise LookupError("nobody expected this")
        else:
            async for chunk in ScriptedAgent().run(turn):
                yield chunk


agent = OddAgent()
