"""The chunks of turns, in this process's memory, and the readers that wait on them.

A reader holds no thread and no database connection. It reads from a list by its own position, so any number of
readers start anywhere, and none is too slow for the others. The chunks of a turn that runs here come straight from
the writer; those of a turn that runs elsewhere are read from the log, once for all its readers (``refresh``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress

from chat import conf
from chat.errors import CursorGone
from chat.models import ENDED, TurnStatus
from chat.protocol import sse
from chat.store import stream_log
from chat.store.crossing import in_thread
from chat.store.sql import UNAVAILABLE

# The most that one reader is sent at once. Servers hold several such pieces for a client that does not read: measured,
# 130 KB each on uvicorn and 550 KB on granian, and 1 MB there with pieces of 64 KB.
PIECE_BYTES = 16 * 1024
# Statuses in which nothing follows in the log for now.
AT_REST = {*(status.value for status in ENDED), TurnStatus.AWAITING_APPROVAL.value}


class TurnStream:
    """The frames of one turn, growing until it ends. Frame ``n`` of the list is chunk ``seq == n + 1``."""

    def __init__(self, turn: int) -> None:
        self.turn = turn
        self.followed = True  # read from the log; else a run of this process publishes it
        self.known = False  # whether what the log held was read at least once
        self.ended = self.pruned = False
        self.readers = 0
        self._missed = False
        self._frames: list[bytes] = []
        self._grown = asyncio.Event()

    @property
    def last_seq(self) -> int:
        """The number of the last chunk that readers may see."""
        return len(self._frames)

    def publish(self, first_seq: int, chunks: Sequence[bytes]) -> None:
        """Show chunks, encoded and numbered from ``first_seq`` on; those that are shown already are skipped."""
        shown = len(self._frames) + 1 - first_seq
        if shown >= 0:
            self._frames += sse.frames(self.turn, first_seq + shown, chunks[shown:] if shown else chunks)
        self._wake()

    def end(self, *, pruned: bool = False) -> None:
        """Say that nothing follows: readers come to their end, which is CursorGone where the log was ``pruned`` and
        chunks are missing.
        """
        self.ended, self.pruned = True, pruned
        self._wake()

    async def read(self, after: int = 0) -> AsyncIterator[list[bytes]]:
        """The frames behind chunk ``after``, as many at a time as are there and make a piece, until the end."""
        if (fed := self._fed()) is not self:
            async with aclosing(fed.read(after)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    yield piece
            return
        with self._reader():
            if self._missed:
                self._missed = False
                with suppress(*UNAVAILABLE):  # the next wake-up reads it
                    await refresh([self.turn])
            while True:
                grown = self._grown
                if after < len(self._frames):
                    taken, size = after, 0
                    while taken < len(self._frames) and size < PIECE_BYTES:
                        size += len(self._frames[taken])
                        taken += 1
                    piece = self._frames[after:taken]
                    after = taken
                    yield piece
                elif self.pruned:
                    raise CursorGone
                elif self.ended:
                    return
                else:
                    await grown.wait()

    @contextmanager
    def _reader(self) -> Iterator[None]:
        self.readers += 1
        try:
            yield
        finally:
            self.readers -= 1
            if self.followed and not self.readers and _streams.get(self.turn) is self:
                del _streams[self.turn]

    def _fed(self) -> TurnStream:
        """The stream that gets the turn's news. This one may have been forgotten after it was found and before it is
        read, because its last reader left in between: then it is followed again, or another is by now.
        """
        if not self.followed or self.ended:
            return self
        if self.turn not in _streams:
            _streams[self.turn] = self
            self._missed = True
        return _streams[self.turn]

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


_streams: dict[int, TurnStream] = {}


def open_stream(turn: int, log: Sequence[bytes] = ()) -> TurnStream:
    """The stream of a turn that begins to run in this process, or goes on behind its ``log``; readers may wait for it
    already. Not that of the leg before, which may not have come to its end here: its readers do, and no further.
    """
    stream = _streams.get(turn)
    if stream is None or stream.ended or not stream.followed:
        stream = _streams[turn] = TurnStream(turn)
    stream.followed = False
    stream.publish(1, log)
    stream.known = True
    return stream


def find_stream(turn: int, since: int = 0) -> TurnStream | None:
    """The stream of a turn that runs here, ended here a moment ago, or is followed here and was read. ``since``: behind
    which chunk the leg began that is wanted.
    """
    stream = _streams.get(turn)
    return stream if stream is not None and stream.known and not _is_of_leg_before(stream, since) else None


async def follow(turn: int, since: int = 0) -> TurnStream:
    """The stream of a turn that does not run here, with all that its log holds so far.

    Registered before it is read, so that news that comes meanwhile is not missed.
    """
    stream = _streams.get(turn)
    if stream is None or _is_of_leg_before(stream, since):
        stream = _streams[turn] = TurnStream(turn)
    try:
        await refresh([turn])
    finally:
        _forget_later(stream)  # the last reader to leave does, but there may be none to come
    return stream


def _is_of_leg_before(stream: TurnStream, since: int) -> bool:
    """Whether a run feeds the stream that has not heard yet of the end of its leg, which is behind chunk ``since``."""
    return not stream.followed and stream.last_seq < since


async def refresh(turns: Iterable[int] | None = None) -> None:
    """Read what is new in the log for followed streams (None: all of them), in one statement for all of them."""
    wanted = _streams.keys() if turns is None else turns
    streams = {turn: stream for turn in wanted if (stream := _streams.get(turn)) and stream.followed}
    positions = {turn: stream.last_seq for turn, stream in streams.items() if not stream.ended}
    if not positions:
        return
    found = await in_thread(stream_log.read_news, positions)
    for turn in positions:
        streams[turn].known = True
    for position in found:
        stream = streams[position.turn]
        stream.publish(positions[position.turn] + 1, position.chunks)
        # Of the same snapshot as the chunks: no more are to come. Unless the turn goes on here meanwhile.
        if position.status in AT_REST and stream.followed:
            stream.end(pruned=stream.last_seq < position.last_seq)
            if position.status == TurnStatus.AWAITING_APPROVAL:
                _forget(stream)
    for turn in positions.keys() - {position.turn for position in found}:
        streams[turn].end()  # deleted


def is_followed() -> bool:
    """Whether somebody reads a turn here that runs elsewhere."""
    return any(stream.followed and stream.readers and not stream.ended for stream in _streams.values())


def close_stream(stream: TurnStream, *, rests: bool = False) -> None:
    """End a stream; its frames stay for a while, for a reader that comes in the moment of the end. Not those of a turn
    that only ``rests``: it may go on in any process, and who comes then must not be told that it is over.
    """
    stream.end()
    if rests:
        _forget(stream)
    else:
        _forget_later(stream)


def _forget(stream: TurnStream) -> None:
    if _streams.get(stream.turn) is stream:
        del _streams[stream.turn]


def forget_unread() -> None:
    """What nobody reads any more does not stay for a while: the loop whose clock would see to it is about to end."""
    for stream in list(_streams.values()):
        if stream.ended or not stream.readers:
            _forget(stream)


def _forget_later(stream: TurnStream) -> None:
    def forget() -> None:
        if _streams.get(stream.turn) is stream and (stream.ended or (stream.followed and not stream.readers)):
            del _streams[stream.turn]

    asyncio.get_running_loop().call_later(conf.get("STREAM_LINGER_SECONDS"), forget)


async def hand_over(stream: TurnStream) -> None:
    """Another process has taken the turn, and perhaps ended it: what follows comes from its log."""
    if _streams.get(stream.turn) is not stream:  # it goes on here, in another stream
        stream.end()
        return
    stream.followed = True
    if stream.readers:
        with suppress(*UNAVAILABLE):  # the next wake-up reads it
            await refresh([stream.turn])
    else:
        _forget(stream)
