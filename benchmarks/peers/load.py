"""The load of ``benchmarks.client`` for servers that speak otherwise than ours: the same clock, windows and figures."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from benchmarks.client import LATE, PATIENCE, STAMP, Reader, Span, Tally, Target, looked_at, sent
from benchmarks.processes import memory_of_tree

OPENED_AT_ONCE = 20
# Bytes kept for the next piece: a token may have been cut in two.
CARRIED = 200


class Dialect(Protocol):
    """How a server is asked and read. Goes to the client's process, so it holds nothing but words."""

    async def open(self, target: Target, tally: Tally, text: str) -> Reader:
        """Ask for what ``text`` says. The reader's ``begun`` is set with the first event, ``ended`` with the last."""


@dataclass(frozen=True, slots=True)
class Sse:
    """Server-sent events in answer to ``POST /api/chat``: ``stamp`` finds their tokens, ``end`` is in the last."""

    stamp: re.Pattern[bytes] = STAMP
    end: bytes = b"[DONE]"

    async def open(self, target: Target, tally: Tally, text: str) -> Reader:
        reader = StampReader(tally, self.stamp, self.end)
        await reader.open(target, sent(target, text))
        return reader


class StampReader(Reader):
    """Looks for tokens in whatever comes, and knows nothing else of its form."""

    def __init__(self, tally: Tally, stamp: re.Pattern[bytes], end: bytes) -> None:
        super().__init__(tally)
        self._stamp, self._end = stamp, end

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data = self._rest + data
        if not self.first:
            if not data.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101")):
                raise RuntimeError(f"The server answered {data[:500]!r}")
            self.first = now
            self.begun.set()
        found = list(self._stamp.finditer(data))
        self._rest = data[found[-1].end() if found else 0 :][-CARRIED:]
        self._tally.tokens += len(found)
        if self._tally.looking:
            self._tally.delays.extend([now - int(stamp[1]) for stamp in found])
        if self._end in data:
            self.ended.set()
            self.close()


async def paced(
    target: Target, dialect: Dialect, turns: int, rate: float, *, seconds: float, ramp: float, warm: float
) -> Span | None:
    """As ``benchmarks.client.paced``; None where the turns did not come to an end within a minute."""
    count = int(rate * (ramp + warm + seconds + LATE))
    tally = Tally()
    readers: list[Reader] = []

    async def open_all() -> None:
        for number in range(turns):
            await asyncio.sleep(tally.begun + ramp * number / turns - time.monotonic())
            readers.append(await dialect.open(target, tally, f"/paced {count} {rate}"))

    try:
        return await looked_at(target, tally, readers, open_all, warm, seconds, count)
    except TimeoutError:
        return None
    finally:
        for reader in readers:
            reader.close()


async def memory(target: Target, dialect: Dialect, number: int, rate: float, tokens: int) -> float | None:
    """Bytes of the server's memory for each turn that is live and has told about ``tokens`` tokens, above what it has
    after as many at once have ended; None where the turns did not come to an end in time.
    """
    try:
        return await _memory(target, dialect, number, rate, tokens)
    except TimeoutError:
        return None


async def _memory(target: Target, dialect: Dialect, number: int, rate: float, tokens: int) -> float:
    await _all(target, dialect, number, f"/paced {int(rate)} {rate}", lambda reader: reader.ended.wait())
    await asyncio.sleep(1)
    before = memory_of_tree(target.pid)
    readers = await _all(target, dialect, number, f"/paced {3 * tokens} {rate}", lambda reader: reader.begun.wait())
    await asyncio.sleep(tokens / rate)
    found = (memory_of_tree(target.pid) - before) / number
    for reader in readers:
        await asyncio.wait_for(reader.ended.wait(), PATIENCE)
    return found


async def _all(
    target: Target, dialect: Dialect, number: int, text: str, until: Callable[[Reader], Awaitable[object]]
) -> list[Reader]:
    slots = asyncio.Semaphore(OPENED_AT_ONCE)

    async def one() -> Reader:
        async with slots:
            reader = await dialect.open(target, Tally(), text)
            await asyncio.wait_for(reader.begun.wait(), PATIENCE)
        await asyncio.wait_for(until(reader), PATIENCE)
        return reader

    return await asyncio.gather(*(one() for _ in range(number)))
