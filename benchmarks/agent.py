"""The agent of the benchmarks: every token is the time at which it was made.

=====================  ===============================================================================
``/paced COUNT RATE``  streams COUNT tokens, RATE a second, on a schedule that does not slip
``/idle``              says one word and never comes to an end
=====================  ===============================================================================
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from chat.agents.base import TurnContext
from chat.protocol.chunks import Chunk


class BenchmarkAgent:
    async def run(self, turn: TurnContext) -> AsyncIterator[Chunk]:
        words = turn.text.split()
        yield {"type": "text-start", "id": "t"}
        if words[0] == "/idle":
            yield {"type": "text-delta", "id": "t", "delta": "Waiting "}
            await asyncio.Event().wait()
        count, pause = int(words[1]), 1 / float(words[2])
        due = time.monotonic()
        for _ in range(count):
            # The clock is the machine's: a reader in another process takes the difference.
            yield {"type": "text-delta", "id": "t", "delta": f"{time.monotonic_ns()} "}
            due += pause
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        yield {"type": "text-end", "id": "t"}
        turn.usage.add(model="benchmark", prompt_tokens=1, completion_tokens=count, cost_micros=0)


agent = BenchmarkAgent()
