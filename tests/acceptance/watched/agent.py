"""An agent for measurements. ``/clock MS``: the time of day every MS milliseconds. ``/big KB``: so much text in
pieces of 1 KB, as fast as it goes. Both then say no more, and go on until they are stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from chat.agents.base import TurnContext
from chat.protocol.chunks import Chunk

LINE = "x" * 1023 + "\n"


class Agent:
    async def run(self, turn: TurnContext) -> AsyncIterator[Chunk]:
        word, number = turn.text.split()
        yield {"type": "text-start", "id": "1"}
        if word == "/clock":
            while True:
                yield {"type": "text-delta", "id": "1", "delta": f"{time.time():.6f} "}
                await asyncio.sleep(int(number) / 1000)
        for _ in range(int(number)):
            yield {"type": "text-delta", "id": "1", "delta": LINE}
        yield {"type": "text-delta", "id": "1", "delta": "that is all"}
        await asyncio.Event().wait()
