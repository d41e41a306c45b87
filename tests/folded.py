"""What was shown is what is stored: the one check that every turn test ends with."""

from __future__ import annotations

from typing import Any

import orjson
from asgiref.sync import sync_to_async

from chat.models import Message, Turn
from chat.protocol.fold import AssistantContentBuilder, fold
from chat.store.stream_log import read_log
from tests.unit.part_shapes import assert_valid_parts


@sync_to_async(thread_sensitive=True)
def assert_shown_is_stored(chunks: list[dict[str, Any]], *, from_parts: bool = False) -> Turn:
    """``chunks`` is a turn's whole stream. It is the turn's log, chunk by chunk (unless it was made anew
    ``from_parts``); it folds to the stored parts and metadata, and each of its prefixes to valid parts.
    Returns the ended turn.
    """
    message = Message.objects.get(pk=int(chunks[0]["messageId"]))
    builder = AssistantContentBuilder()
    for chunk in chunks:
        builder.apply(chunk)
    assert builder.snapshot() == message.parts
    assert builder.metadata == message.metadata
    for length in range(len(chunks)):
        assert_valid_parts(fold(chunks[:length]))
    turn = Turn.objects.get(thread_id=message.thread_id, turn_id=message.turn_id)
    assert turn.status in ("completed", "stopped", "interrupted", "failed")
    if not from_parts:
        assert [orjson.loads(chunk) for chunk in read_log(turn.pk)] == chunks
        assert turn.last_seq == len(chunks)
    return turn


@sync_to_async(thread_sensitive=True)
def assert_log_is_stored(pk: int) -> Turn:
    """The same of a turn that nobody may have read: its log folds to its stored parts."""
    turn = Turn.objects.get(pk=pk)
    message = Message.objects.get(thread_id=turn.thread_id, turn_id=turn.turn_id, role="assistant")
    assert fold(orjson.loads(chunk) for chunk in read_log(pk)) == message.parts
    return turn
