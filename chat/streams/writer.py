"""The one writer of the log in a process: it collects the chunks of all live turns and commits them together.

Never more than one commit is in flight. Between two commits lies a gap that grows with the turns that have
something to write and with their readers: with few, a chunk is durable after a few milliseconds; with many, a commit
holds more, and each reader is sent more at once.
Readers see a chunk when it is committed (``CHAT_DURABILITY = "sync"``), or at once (``async``, ``exit``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import uuid4

from chat import conf
from chat.errors import Unavailable
from chat.store import stream_log
from chat.store.crossing import DedicatedThread
from chat.store.sql import UNAVAILABLE
from chat.store.stream_log import LogRow
from chat.streams.hub import TurnStream
from chat.telemetry import commit, event, measure

logger = logging.getLogger(__name__)

# The gap grows by this many seconds for each row of the commit before, and for each reader that it woke.
GAP_PER_READER = 0.0001
# Seconds between two tries while the database is away.
PAUSE, LONGEST_PAUSE = 0.1, 2.0


def process_name() -> str:
    """The name of this process in its notifications, by which it knows its own."""
    return _name_of(os.getpid())


@lru_cache(1)
def _name_of(pid: int) -> str:
    # Of a pid, not made at import: the workers of a server that forks after loading the application would share one
    # name, take each other's news for their own, and their readers would wait for the next check.
    return uuid4().hex[:12]


@dataclass(slots=True)
class Pending:
    """Chunks of one turn that are not committed."""

    stream: TurnStream
    epoch: int
    first_seq: int
    chunks: list[bytes] = field(default_factory=list)
    bytes: int = 0
    since: float = field(default_factory=time.monotonic)

    def row(self) -> LogRow:
        return LogRow(self.stream.turn, self.epoch, self.first_seq, self.chunks)


class Writer:
    """Use ``writer()``: there is one a process. ``on_lost`` is called with a turn and the epoch that it has left,
    ``on_refused`` with a turn of whose log something cannot be written, and its epoch.
    """

    def __init__(self) -> None:
        self.on_lost: Callable[[int, int], object] = lambda turn, epoch: None
        self.on_refused: Callable[[int, int], object] = lambda turn, epoch: None
        self._pending: dict[int, Pending] = {}
        self._in_flight: dict[int, Pending] = {}
        self._next_seq: dict[int, int] = {}
        self._refused: set[int] = set()  # turns of whose log something is missing for good
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._last_end, self._last_woken = 0.0, 0
        self._progress = asyncio.Event()
        self._thread = DedicatedThread("chat-writer")

    def add(self, stream: TurnStream, epoch: int, chunks: list[bytes]) -> None:
        """Take the next chunks of a turn. They are shown when CHAT_DURABILITY says."""
        if not chunks or stream.turn in self._refused:
            return
        durability = conf.get("DURABILITY")
        turn = stream.turn
        seq = self._next_seq.get(turn, stream.last_seq + 1)
        self._next_seq[turn] = seq + len(chunks)
        pending = self._pending.get(turn)
        if pending is None:
            pending = self._pending[turn] = Pending(stream, epoch, seq)
        pending.chunks += chunks
        size = sum(map(len, chunks))
        pending.bytes += size
        self._bytes += size
        if durability != "sync":
            stream.publish(seq, chunks)
        if durability != "exit" and self._task is None:
            # A context of its own: in a trace its commits are nobody's, and not of the turn that happened to wake it.
            self._task = asyncio.create_task(self._work(), name="chat writer", context=Context())

    @property
    def full(self) -> bool:
        """Whether agents must wait: too much is not yet committed."""
        return self._bytes > conf.get("PENDING_BYTES") and self._task is not None

    async def room(self) -> None:
        """Wait until the writer takes more: this is how a slow database slows the agents down."""
        while self.full:
            await self._progress.wait()

    async def take(self, turn: int) -> tuple[int, list[bytes]]:
        """The first number and the chunks of a turn that are not committed, once nothing of it is in flight. They
        are the caller's to store, with the end of the turn.

        Raises Unavailable when they are in flight for CHAT_DATABASE_PATIENCE_SECONDS, and when some before them could
        not be written; then no reader saw the others.
        """
        pending = self._pending.pop(turn, None)
        if pending is not None:
            self._bytes -= pending.bytes
        try:
            async with asyncio.timeout(conf.get("DATABASE_PATIENCE_SECONDS")):
                while turn in self._in_flight:
                    await self._progress.wait()
        except TimeoutError:
            raise Unavailable from None
        finally:
            next_seq = self._next_seq.pop(turn, 1)
        if turn in self._refused:
            self._refused.discard(turn)
            raise Unavailable
        return (next_seq, []) if pending is None else (pending.first_seq, pending.chunks)

    async def close(self) -> None:
        """Give the connection back; the next commit opens one again."""
        await self._thread.close()
        self._progress = asyncio.Event()  # the next one may belong to another event loop

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                gap = min(conf.get("COMMIT_GAP"), conf.get("SHORTEST_COMMIT_GAP") + GAP_PER_READER * self._last_woken)
                await asyncio.sleep(max(0.0, self._last_end + gap - loop.time()))
                self._in_flight, self._pending = self._pending, {}
                if self._in_flight:
                    await self._commit(self._in_flight)
                self._last_end = loop.time()
                self._last_woken = sum(max(1, one.stream.readers) for one in self._in_flight.values())
                self._in_flight = {}
                self._tell()
        finally:
            self._task = None

    async def _commit(self, batch: dict[int, Pending]) -> None:
        pause = PAUSE
        while True:
            try:
                taken = await self._thread.call(_append, [one.row() for one in batch.values()])
                break
            except UNAVAILABLE:
                # Unchanged, so that it does not matter whether the commit went through.
                told = event("log_waits", number=len(batch))
                logger.warning("the log of %d turns waits for the database", len(batch), extra=told)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            except Exception as problem:  # of PostgreSQL, or of what comes before it
                if len(batch) > 1:  # one bad row must not cost the others their log
                    for turn, pending in batch.items():
                        await self._commit({turn: pending})
                    return
                (turn,), name = batch, type(problem).__name__
                told = event("log_not_written", turn=turn, problem=name)
                logger.error("the log of turn %s cannot be written: %s", turn, name, extra=told)
                self._refuse(turn)
                taken = set()
                break
        measure("chat_log_lag_seconds", time.monotonic() - min(pending.since for pending in batch.values()))
        for turn, pending in batch.items():
            self._bytes -= pending.bytes
            if turn in taken:
                pending.stream.publish(pending.first_seq, pending.chunks)
            elif turn in self._refused:
                self.on_refused(turn, pending.epoch)
            else:
                self.on_lost(turn, pending.epoch)

    def _refuse(self, turn: int) -> None:
        """Take nothing more of a turn: behind a gap nobody could read it."""
        self._refused.add(turn)
        if (waiting := self._pending.pop(turn, None)) is not None:
            self._bytes -= waiting.bytes

    def _tell(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()


def _append(batch: list[LogRow]) -> set[int]:
    with commit("append"):
        return stream_log.append(batch, process_name())


_writer: Writer | None = None


def writer() -> Writer:
    """The writer of this process."""
    global _writer
    if _writer is None:
        _writer = Writer()
    return _writer
