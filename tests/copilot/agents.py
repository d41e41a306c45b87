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
