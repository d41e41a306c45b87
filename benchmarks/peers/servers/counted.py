"""The benchmarks' agent, with its runs counted."""

from __future__ import annotations

from collections.abc import AsyncIterator

from benchmarks.agent import BenchmarkAgent
from benchmarks.peers.servers.tokens import count_run
from chat.agents.base import TurnContext
from chat.protocol.chunks import Chunk


class CountedAgent(BenchmarkAgent):
    async def run(self, turn: TurnContext) -> AsyncIterator[Chunk]:
        count_run(turn.text)
        async for chunk in super().run(turn):
            yield chunk


agent = CountedAgent()
