"""The stream of a turn: live from memory, or made anew from what was stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson

from chat.models import TurnStatus
from chat.protocol import sse
from chat.protocol.replay import replay
from chat.store.crossing import in_thread
from chat.store.messages import StoredMessage, read_turn_message
from chat.store.scope import Scope
from chat.store.turns import StoredTurn, read_turn
from chat.streams.hub import find_stream
from chat.turns import envelope

# Seconds between two looks at a turn that another process runs.
POLL = 0.5


async def read_stream(scope: Scope, turn: StoredTurn, after: int = 0) -> AsyncIterator[bytes]:
    """The frames of a turn, from chunk ``after`` on, to its end, ``[DONE]`` included."""
    stream = find_stream(turn.pk)
    if stream is not None:
        async for frames in stream.read(after):
            yield frames
    else:
        while turn.streaming:
            await asyncio.sleep(POLL)
            turn = await in_thread(read_turn, scope, turn.pk)
        message = await in_thread(read_turn_message, scope, turn.thread_id, turn.turn_id, "assistant")
        yield b"".join(stored_frames(turn, message))
    yield sse.DONE


def stored_frames(turn: StoredTurn, message: StoredMessage) -> list[bytes]:
    """An ended turn's stream out of its stored message: it folds to the same parts, and has no cursors."""
    ending = envelope.ending(
        TurnStatus(turn.status),
        finish_reason=turn.finish_reason,
        usage=None,
        error_code=turn.error_code,
        error_text=turn.error_text,
    )
    parts = orjson.loads(orjson.dumps(message.parts))
    return [sse.frame(sse.encode(chunk)) for chunk in (*envelope.opening(turn), *replay(parts), *ending)]
