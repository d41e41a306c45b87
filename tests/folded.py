"""What was shown is what is stored: the one check that every turn test ends with."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from asgiref.sync import sync_to_async

from chat.models import ENDED, Message, Turn
from chat.testing.invariants import assert_database_is_sound, folded


@sync_to_async(thread_sensitive=True)
def assert_shown_is_stored(chunks: list[dict[str, Any]], *, from_parts: bool = False) -> Turn:
    """``chunks`` is a turn's whole stream. It is the turn's log, chunk by chunk (unless it was made anew
    ``from_parts``); it folds to the stored parts and metadata, and each of its prefixes to valid parts; and every
    invariant holds. Returns the ended turn.
    """
    message = Message.objects.get(pk=int(chunks[0]["messageId"]))
    turn = Turn.objects.get(thread_id=message.thread_id, turn_id=message.turn_id)
    if from_parts:
        assert turn.status in ENDED
        assert folded(chunks, prefixes=True) == (message.parts, message.metadata)
    else:
        (ended,) = assert_database_is_sound(condition=f"t.id = {turn.pk}", prefixes=True)
        assert list(map(orjson.loads, ended.log)) == chunks
    return turn


@sync_to_async(thread_sensitive=True)
def assert_log_is_stored(pk: int) -> Turn:
    """The same of a turn that nobody may have read."""
    assert_database_is_sound(condition=f"t.id = {pk}", prefixes=True)
    return Turn.objects.get(pk=pk)


async def ended(pk: int) -> Turn:
    """The turn once it has ended."""
    for _ in range(500):
        turn = await Turn.objects.aget(pk=pk)
        if turn.status != "streaming":
            return turn
        await asyncio.sleep(0.01)
    raise AssertionError("the turn did not end")
