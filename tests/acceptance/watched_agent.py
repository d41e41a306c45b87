"""The demo agent, with a diary of what is asked of it: ``CHAT_AGENT = "tests.acceptance.watched_agent.WatchedAgent"``.

``DIARY`` names a file; a line a step: ``<turn id> begun``, ``<turn id> spoke``, ``<turn id> left``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from chat.agents import demo
from chat.agents.base import TurnContext
from chat.protocol.chunks import Chunk


class WatchedAgent:
    async def run(self, turn: TurnContext) -> AsyncIterator[Chunk]:
        diary = os.open(os.environ["DIARY"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(diary, f"{turn.turn_id} begun\n".encode())
            async for chunk in demo.agent.run(turn):
                os.write(diary, f"{turn.turn_id} spoke\n".encode())
                yield chunk
        finally:
            os.write(diary, f"{turn.turn_id} left\n".encode())
            os.close(diary)
