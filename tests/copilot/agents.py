"""Agents for tests of copilot chats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from chat.agents.base import TurnContext


class Waits:
    """Never says a word."""

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield {}


class Boasts:
    """Says that it took more tokens than there are."""

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        yield {"type": "text-delta", "id": "1", "delta": "A lot."}
        turn.usage.add(prompt_tokens=3_000_000_000, completion_tokens=2**70)
