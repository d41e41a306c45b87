"""What was shown is what is stored: the one check that every turn test ends with."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from chat.models import Message, Turn
from chat.protocol.fold import AssistantContentBuilder, fold
from tests.unit.part_shapes import assert_valid_parts


@sync_to_async(thread_sensitive=True)
def assert_shown_is_stored(chunks: list[dict[str, Any]]) -> Turn:
    """``chunks`` is a turn's whole stream: it folds to the stored parts and metadata, and each of its prefixes to
    valid parts. Returns the ended turn.
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
    return turn
