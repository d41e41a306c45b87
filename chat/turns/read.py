"""The stream of a turn: live from memory, from its log, or, where that was pruned, made anew from its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from chat.errors import CursorGone
from chat.models import TurnStatus
from chat.protocol import sse
from chat.protocol.replay import replay
from chat.store.crossing import in_thread
from chat.store.history import read_answer
from chat.store.scope import Scope
from chat.store.turns import StoredTurn
from chat.streams.hub import find_stream, follow
from chat.turns import envelope


async def read_stream(scope: Scope, turn: StoredTurn, after: int = 0) -> AsyncIterator[bytes]:
    """The bytes of a turn's stream, from chunk ``after`` on, to its end, ``[DONE]`` included; a turn of any process.

    Raises CursorGone for a cursor that an ended turn's log does not hold (any more).
    """
    return _joined(await read_frames(scope, turn, after))


async def read_frames(scope: Scope, turn: StoredTurn, after: int = 0) -> AsyncIterator[list[bytes]]:
    """The same frame by frame (``protocol.sse.frame``), as many at a time as are there."""
    since = turn.last_seq if turn.streaming else 0
    stream = find_stream(turn.pk, since) or await follow(turn.pk, since)
    if stream.ended and after > (0 if stream.pruned else stream.last_seq):
        raise CursorGone
    if not stream.pruned:
        return stream.read(after)
    return _once(stored_frames(turn, *await in_thread(read_answer, scope, turn)))


async def _joined(pieces: AsyncIterator[list[bytes]]) -> AsyncIterator[bytes]:
    async with aclosing(pieces) as frames:  # type: ignore[type-var]
        async for piece in frames:
            yield b"".join(piece)
    yield sse.DONE


async def _once(piece: list[bytes]) -> AsyncIterator[list[bytes]]:
    yield piece


def stored_frames(turn: StoredTurn, parts: list[dict[str, Any]], metadata: dict[str, Any]) -> list[bytes]:
    """An ended turn's stream out of its stored message: it folds to the same message, and has no cursors."""
    ending = envelope.ending(
        TurnStatus(turn.status),
        finish_reason=turn.finish_reason,
        usage=None,
        error_code=turn.error_code,
        error_text=turn.error_text,
        extra=metadata,
    )
    return [sse.frame(sse.encode(chunk)) for chunk in (*envelope.opening(turn), *replay(parts), *ending)]
