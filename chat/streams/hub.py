"""The chunks of this process's turns, in memory, and the readers that wait on them.

A reader holds no thread and no database connection. It reads from a list by its own position, so that any
number of readers start anywhere and none can be too slow for the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from chat import conf
from chat.protocol import sse
from chat.protocol.chunks import Chunk
from chat.streams.cursors import Cursor


class TurnStream:
    """The frames of one turn, growing until it ends. Frame ``n`` of the list is chunk ``seq == n + 1``."""

    def __init__(self, turn: int) -> None:
        self.turn = turn
        self.ended = False
        self._frames: list[bytes] = []
        self._grown = asyncio.Event()

    @property
    def last_seq(self) -> int:
        return len(self._frames)

    def publish(self, chunks: list[Chunk]) -> None:
        """Show chunks to every reader."""
        for chunk in chunks:
            cursor = Cursor(self.turn, len(self._frames) + 1)
            self._frames.append(sse.frame(sse.encode(chunk), str(cursor)))
        self._wake()

    def end(self) -> None:
        """Say that nothing follows: readers come to their end."""
        self.ended = True
        self._wake()

    async def read(self, after: int = 0) -> AsyncIterator[bytes]:
        """The frames behind chunk ``after``, those that are there already joined into one piece, until the end."""
        while True:
            grown = self._grown
            if after < len(self._frames):
                frames = self._frames[after:]
                after += len(frames)
                yield b"".join(frames)
            elif self.ended:
                return
            else:
                await grown.wait()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


_streams: dict[int, TurnStream] = {}


def open_stream(turn: int) -> TurnStream:
    """The stream of a turn that begins to run in this process."""
    stream = _streams[turn] = TurnStream(turn)
    return stream


def find_stream(turn: int) -> TurnStream | None:
    """The stream of a turn of this process that runs, or ended less than CHAT_STREAM_LINGER_SECONDS ago."""
    return _streams.get(turn)


def close_stream(stream: TurnStream) -> None:
    """End a stream; its frames stay for a while, for a reader that comes in the moment of the end."""
    stream.end()
    asyncio.get_running_loop().call_later(conf.get("STREAM_LINGER_SECONDS"), lambda: _streams.pop(stream.turn, None))
