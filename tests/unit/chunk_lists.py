"""Lists of chunks that several tests write down."""

from __future__ import annotations

from typing import Any

from chat.protocol.chunks import Chunk, tool_input_available

START_STEP: Chunk = {"type": "start-step"}
FINISH_STEP: Chunk = {"type": "finish-step"}


def in_step(*chunks: Chunk) -> list[Chunk]:
    return [START_STEP, *chunks, FINISH_STEP]


def a_call(call: str = "c", value: Any = None) -> Chunk:
    """The complete input of a call of the tool "search"."""
    return tool_input_available(call, "search", {} if value is None else value)
