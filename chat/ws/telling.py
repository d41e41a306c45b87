"""What a socket is told: each turn of its thread as it begins and ends, and every chunk in between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from uuid import UUID

from chat.api import turns
from chat.models import TurnStatus
from chat.protocol import sse
from chat.protocol.frames import chunk_frame, server_frame
from chat.store.scope import Scope
from chat.store.turns import StoredTurn
from chat.streams.cursors import Cursor, parse_cursor
from chat.streams.threads import Restored, age, watch
from chat.turns.read import read_frames

# How many turns that are over a socket knows not to tell again, as when their send is retried.
REMEMBERED = 16
# Older than any turn.
BEFORE = (-1, 0, 0)


class Telling:
    """Tells one socket of one thread. A turn's ``{"turn"}`` frame comes before its first chunk when it runs, and
    after its last when it waits for decisions or has ended. ``{"restored"}`` says that another version of a message is
    current: what the history holds is to be read anew.
    """

    def __init__(self, scope: Scope, thread: UUID, send: Callable[[str], Awaitable[None]]) -> None:
        self._scope = scope
        self._thread = thread
        self._send = send
        self._tasks = asyncio.TaskGroup()
        self._streams: dict[int, asyncio.Task[None]] = {}
        self._legs: dict[int, int] = {}  # by turn: behind which chunk the leg began that is told
        self._positions: dict[int, int] = {}
        self._told: dict[int, tuple[int, int, int]] = {}
        self._ended: deque[int] = deque()
        self._moved = asyncio.Event()
        self._turn = asyncio.Lock()
        self._over = False
        self.watches = asyncio.Event()  # set once nothing that happens is missed

    async def run(
        self, after: Cursor | None, begun: StoredTurn | None, frames: AsyncIterator[list[bytes]] | None
    ) -> None:
        """Tell until cancelled, or the process ends: with ``after`` first the ``frames`` of the turn ``begun`` behind
        that chunk (None: there is nothing to read), and then the turns behind it; else the turns that have not ended,
        and all to come.
        """
        if after is not None:
            self.watches.set()  # what is behind it is read from there
        async with self._tasks:
            if after is not None and begun is not None:
                self._positions[begun.pk] = after.seq
                if frames is not None:
                    self._legs[begun.pk] = begun.last_seq
                    self._streams[begun.pk] = self._tasks.create_task(self._stream(begun, frames))
                await self.tell(begun)
            missed_after = after.turn if after is not None else None
            try:
                async with aclosing(watch(self._thread, missed_after, self.watches)) as changes:  # type: ignore[type-var]
                    async for change in changes:
                        if isinstance(change, Restored):
                            await self._send(server_frame("restored", {"message_id": str(change.message)}))
                        else:
                            await self.tell(change)
            finally:
                self._over = True
            for stream in self._streams.values():
                stream.cancel()

    async def tell(self, turn: StoredTurn) -> None:
        """Tell how a turn stands, and its chunks from where this socket is; nothing twice."""
        async with self._turn:
            now = age(turn)
            if self._over or self._told.get(turn.pk, BEFORE) >= now:
                return
            self._told[turn.pk] = now
            if turn.ended or turn.waiting:
                await self._rest(turn)
                if self._positions.get(turn.pk, 0) < turn.last_seq:
                    self._begin(turn)  # it began, or went on, and came to its end while nobody looked
                    await self._rest(turn)
                await self._send(server_frame("turn", turns.shown(turn)))
                if turn.ended:
                    self._forget(turn.pk)
            else:
                await self._send(server_frame("turn", turns.shown(turn)))
                if turn.status == TurnStatus.STREAMING:
                    self._begin(turn)

    def tell_soon(self, turn: StoredTurn) -> None:
        """The same, without waiting for it: what is told already may take as long as the client does to read it."""
        if not self._over:
            self._tasks.create_task(self.tell(turn))

    def _forget(self, turn: int) -> None:
        """Keep nothing of a turn that is over and told: a socket may stay for days."""
        for kept in (self._streams, self._legs, self._positions):
            kept.pop(turn, None)
        self._ended.append(turn)
        if len(self._ended) > REMEMBERED:
            self._told.pop(self._ended.popleft(), None)

    def _begin(self, turn: StoredTurn) -> None:
        """Tell the chunks of the leg that the turn is in, behind those of the legs before."""
        before = self._streams.get(turn.pk)
        if before is None or before.done() or self._legs[turn.pk] != turn.last_seq:
            self._legs[turn.pk] = turn.last_seq
            self._streams[turn.pk] = self._tasks.create_task(self._stream(turn, None, before))

    async def _rest(self, turn: StoredTurn) -> None:
        """Wait until the chunks are told that the turn has in this state."""
        stream = self._streams.get(turn.pk)
        if stream is None:
            return
        if turn.ended:
            await stream
        # One that waits may go on meanwhile, and its stream with it.
        while not stream.done() and self._positions.get(turn.pk, 0) < turn.last_seq:
            self._moved.clear()
            moved = asyncio.ensure_future(self._moved.wait())
            try:
                await asyncio.wait([stream, moved], return_when=asyncio.FIRST_COMPLETED)
            finally:
                moved.cancel()

    async def _stream(
        self,
        turn: StoredTurn,
        frames: AsyncIterator[list[bytes]] | None,
        before: asyncio.Task[None] | None = None,
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        after = self._positions.setdefault(turn.pk, 0)
        frames = frames or await read_frames(self._scope, turn, after)
        async with aclosing(frames) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                for frame in piece:
                    cursor, chunk = sse.unframe(frame)
                    await self._send(chunk_frame(cursor, chunk))
                    # Without one it is made of the stored answer, which is all of it: the log was pruned.
                    self._positions[turn.pk] = parse_cursor(cursor).seq if cursor else turn.last_seq
                self._moved.set()
