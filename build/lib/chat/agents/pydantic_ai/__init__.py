"""Any Pydantic AI agent as an agent of ours: every provider it knows, tools, approvals, usage, cancellation.

``CHAT_PYDANTIC_AGENT`` names an ``Agent`` (or a function that makes one); the turn is its ``deps``, so its tools may
ask ``ctx.deps.user_id``. Without it a plain one is made of ``CHAT_MODEL`` and ``CHAT_INSTRUCTIONS``. See
docs/agents.md.

This module imports nothing of the library, which takes a second or two: the rest of the package does, when a server
starts with such an agent, or with its first turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from importlib import import_module
from typing import Any

from chat.agents.base import TurnContext
from chat.protocol.chunks import Chunk

__all__ = ["PydanticAgent", "agent"]


class PydanticAgent:
    """Drives the Pydantic AI agent that the settings name."""

    def __init__(self) -> None:
        self._drive: Any = None

    async def run(self, turn: TurnContext) -> AsyncIterator[Chunk]:
        if self._drive is None:
            self._drive = await asyncio.to_thread(_load)
        async with aclosing(self._drive.drive(turn)) as chunks:
            async for chunk in chunks:
                yield chunk

    def problems(self) -> list[str]:
        """What is wrong with the settings, the models of CHAT_MODELS included."""
        try:
            configured = import_module("chat.agents.pydantic_ai.configured")
        except ImportError as error:
            return [f"chat.agents.pydantic_ai needs Pydantic AI: pip install 'pydantic-ai-slim[openai]' ({error})."]
        found: list[str] = configured.problems()
        return found


def _load() -> Any:
    """What drives turns, and the agent that it drives, imported."""
    drive = import_module("chat.agents.pydantic_ai.drive")
    drive.configured_agent()
    return drive


agent = PydanticAgent()
