"""An agent whose answer is told by the turn's id: ``old…`` is quick and good, ``…fails-N`` raises behind N tokens."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

from chat.agents.base import TurnContext

TOKENS = 40
PAUSE = 0.005


class FatefulAgent:
    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        if turn.turn_id.startswith("old"):
            yield {"type": "text-delta", "id": "1", "delta": "old"}
            return
        fate = re.search(r"fails-(\d+)", turn.turn_id)
        for number in range(TOKENS + 1):
            if fate and number == int(fate[1]):
                raise LookupError("as it was meant to be")
            if number < TOKENS:
                yield {"type": "text-delta", "id": "1", "delta": f"new{number} "}
                await asyncio.sleep(PAUSE)


agent = FatefulAgent()
