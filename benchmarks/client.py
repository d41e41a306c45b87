"""The load: readers on raw sockets that look at nothing but the times in the tokens.

The measurements run in a process of their own (``Client``), so that neither the server nor what is
measured of the client disturb each other; each takes one measurement and returns plain figures.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import re
import resource
import time
import uuid
from array import array
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
import psycopg
import uvloop

from benchmarks.processes import memory_of_tree, used
from chat.testing.client import said

T = TypeVar("T")

STAMP = re.compile(rb'"delta":"(\d{6,}) "')
TURN = re.compile(rb"^id: (\d+)-", re.MULTILINE)
OPENED_AT_ONCE = 50
PATIENCE = 60.0
LATE = 1.0  # seconds more of tokens, for a server that opens late
TICK = 0.01  # seconds: CPU is counted in these


@dataclass(frozen=True, slots=True)
class Target:
    """A server to be measured: its port, the token to ask with, and the pids at the roots of its processes."""

    port: int
    pid: int
    token: str = ""
    postgres: int | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """What a window of steady load showed."""

    tokens: int  # received in it
    seconds: float
    server: float  # CPU seconds, here and below
    postgres: float
    client: float
    others: float  # what else ran on the machine
    whole_tokens: int  # the same from before the first request to behind the last answer
    whole_server: float
    delays: list[float]  # milliseconds from the agent to the reader, sorted
    complete: bool  # whether every reader got every token
    steady: bool  # whether all turns were live from the window's first moment to its last

    @property
    def per_cpu_second(self) -> float:
        return self.tokens / max(self.server, TICK)

    @property
    def whole_per_cpu_second(self) -> float:
        return self.whole_tokens / max(self.whole_server, TICK)

    def delay(self, quantile: float) -> float:
        """Milliseconds within which this share of the tokens came."""
        return self.delays[min(len(self.delays) - 1, int(len(self.delays) * quantile))]

    def line(self) -> str:
        """All of it in a line."""
        used = (self.server, self.postgres, self.client, self.others)
        cores = "/".join(f"{seconds / self.seconds:.2f}" for seconds in used)
        doubts = ("" if self.steady else ", NOT STEADY") + ("" if self.complete else ", TOKENS LOST")
        return (
            f"{self.tokens / self.seconds:,.0f} tokens/s, {self.per_cpu_second:,.0f} per CPU second "
            f"({self.whole_per_cpu_second:,.0f} with opening and ending), p50 {self.delay(0.5):.1f} ms, "
            f"p99 {self.delay(0.99):.1f} ms, cores of server/PostgreSQL/client/others {cores}{doubts}"
        )


class Client:
    """A process that runs one measurement after the other."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_prepare)

    def run(self, measure: Callable[..., Coroutine[Any, Any, T]], *arguments: Any, **options: Any) -> T:
        """What ``measure(*arguments, **options)`` finds there."""
        found: T = self._pool.submit(_run, measure, *arguments, **options).result()
        return found

    def close(self) -> None:
        self._pool.shutdown()


async def paced(target: Target, turns: int, rate: float, *, seconds: float, ramp: float, warm: float) -> Span:
    """``turns`` turns at ``rate`` tokens a second each. They begin within ``ramp`` seconds; from ``warm`` seconds after
    the last of them has begun they are looked at, for ``seconds``.
    """
    count = int(rate * (ramp + warm + seconds + LATE))
    tally = Tally()
    readers = [Reader(tally) for _ in range(turns)]

    async def open_all() -> None:
        for number, reader in enumerate(readers):
            await asyncio.sleep(tally.begun + ramp * number / turns - time.monotonic())
            await reader.open(target, sent(target, f"/paced {count} {rate}"))

    return await looked_at(target, tally, readers, open_all, warm, seconds, count)


async def fan_out(target: Target, number: int, rate: float, *, seconds: float, warm: float) -> Span:
    """``number`` readers of one turn."""
    count = int(rate * (warm + seconds + LATE))
    tally = Tally()
    readers = [Reader(tally) for _ in range(number)]

    async def open_all() -> None:
        first, *others = readers
        await first.open(target, sent(target, f"/paced {count} {rate}"))
        await first.begun.wait()
        for reader in others:
            await reader.open(target, _request(target, "GET", f"/api/turns/{first.turn}/stream"))

    return await looked_at(target, tally, readers, open_all, warm, seconds, count)


async def first_chunks(target: Target, times: int) -> list[float]:
    """Milliseconds from a request to the first event of its answer, one after the other on an idle server."""
    return await answers(target, [sent(target, "/paced 3 100") for _ in range(times)])


async def answers(target: Target, requests: list[bytes]) -> list[float]:
    """The same of these requests."""
    found = []
    for request in requests:
        reader = Reader(Tally())
        await reader.open(target, request)
        await asyncio.wait_for(reader.ended.wait(), PATIENCE)
        found.append((reader.first - reader.asked) / 1e6)
        await asyncio.sleep(0.05)
    return found


@dataclass(frozen=True, slots=True)
class Open:
    """What readers that are open and get nothing cost."""

    readers: int
    bytes_each: float
    connections_before: int
    connections: int


async def idle(target: Target, number: int, dsn: str) -> Open:
    """Open ``number`` readers that wait: of one turn, or (the bare view, which knows no turns) of one each."""
    warm = await _open_idle(target, 2 * OPENED_AT_ONCE)  # as many at once as later: the pool is as large as it gets
    await asyncio.sleep(1)
    memory, connections = memory_of_tree(target.pid), _connections(dsn)
    readers = await _open_idle(target, number)
    await asyncio.sleep(1)
    found = Open(number, (memory_of_tree(target.pid) - memory) / number, connections, _connections(dsn))
    for reader in (*warm, *readers):
        reader.close()
    return found


async def _open_idle(target: Target, number: int) -> list[Reader]:
    readers = [Reader(Tally()) for _ in range(number)]
    slots = asyncio.Semaphore(OPENED_AT_ONCE)
    await readers[0].open(target, sent(target, "/idle"))
    await asyncio.wait_for(readers[0].begun.wait(), PATIENCE)
    turn = readers[0].turn

    async def open_one(reader: Reader) -> None:
        request = _request(target, "GET", f"/api/turns/{turn}/stream") if target.token else sent(target, "/idle")
        async with slots:
            await reader.open(target, request)
            await asyncio.wait_for(reader.begun.wait(), PATIENCE)

    await asyncio.gather(*map(open_one, readers[1:]))
    return readers


def _connections(dsn: str) -> int:
    """Client connections to the database, this one not counted."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone()
    assert found
    return int(found[0])


async def looked_at(
    target: Target,
    tally: Tally,
    readers: list[Reader],
    open_all: Callable[[], Awaitable[None]],
    wait: float,
    seconds: float,
    count: int,
) -> Span:
    """Open all readers; ``wait`` seconds after the last of them has begun look on for ``seconds``, and wait for their
    ends. ``count`` is how many tokens each has to get.
    """
    start = used(target.pid, target.postgres)
    tally.begun = time.monotonic()
    await open_all()
    for reader in readers:
        await asyncio.wait_for(reader.begun.wait(), PATIENCE)
    await asyncio.sleep(wait)
    before, client, at = used(target.pid, target.postgres), time.process_time(), time.monotonic()
    tally.look()
    await asyncio.sleep(seconds)
    tally.stop()
    after, client, at = used(target.pid, target.postgres), time.process_time() - client, time.monotonic() - at
    steady = not any(reader.ended.is_set() for reader in readers)
    for reader in readers:
        await asyncio.wait_for(reader.ended.wait(), PATIENCE)
    end = used(target.pid, target.postgres)
    server, postgres = after.server - before.server, after.postgres - before.postgres
    return Span(
        tokens=tally.seen,
        seconds=at,
        server=server,
        postgres=postgres,
        client=client,
        others=after.machine - before.machine - server - postgres - client,
        whole_tokens=tally.tokens,
        whole_server=end.server - start.server,
        delays=sorted(delay / 1e6 for delay in tally.delays),
        complete=tally.tokens == count * len(readers),
        steady=steady,
    )


@dataclass(slots=True)
class Tally:
    """What all readers of a measurement got."""

    begun: float = 0.0
    tokens: int = 0
    seen: int = 0
    looking: bool = False
    delays: array[int] = field(default_factory=lambda: array("q"))

    def look(self) -> None:
        self.looking, self.seen = True, self.tokens

    def stop(self) -> None:
        self.looking, self.seen = False, self.tokens - self.seen


class Reader(asyncio.Protocol):
    """One connection with one request."""

    def __init__(self, tally: Tally) -> None:
        self.begun, self.ended = asyncio.Event(), asyncio.Event()
        self.asked = self.first = self.turn = 0
        self._tally = tally
        self._rest = b""

    async def open(self, target: Target, request: bytes) -> None:
        self.asked = time.monotonic_ns()
        self._transport, _ = await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", target.port)
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data = self._rest + data
        whole = data.rfind(b"\n\n") + 2
        if whole < 2:
            self._rest = data
            return
        self._rest = data[whole:]
        if not self.first:
            self._begin(data, now)
        stamps = STAMP.findall(data, 0, whole)
        self._tally.tokens += len(stamps)
        if self._tally.looking:
            self._tally.delays.extend([now - int(stamp) for stamp in stamps])
        if data.endswith(b"[DONE]\n\n", 0, whole):
            self.ended.set()
            self._transport.close()

    def connection_lost(self, problem: Exception | None) -> None:
        self.ended.set()

    def _begin(self, data: bytes, now: int) -> None:
        if not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"The server answered {data[:500]!r}")
        if (named := TURN.search(data)) is not None:
            self.first = now
            self.turn = int(named[1])
            self.begun.set()


def sent(target: Target, text: str, thread: str = "") -> bytes:
    """The request that says something in a thread; without its id, in a new one."""
    body = said(thread or uuid.uuid4().hex, text, uuid.uuid4().hex)
    return _request(target, "POST", "/api/chat", orjson.dumps(body))


def sent_to_copilot(target: Target, text: str, chat: str) -> bytes:
    """The same in a copilot chat."""
    body = orjson.dumps({"message": text, "chatId": chat, "userMessageId": uuid.uuid4().hex})
    return _request(target, "POST", "/api/copilot/chat", body)


def _request(target: Target, method: str, path: str, body: bytes = b"") -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: 127.0.0.1:{target.port}",
        f"Authorization: Bearer {target.token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _prepare() -> None:
    gc.disable()  # its pauses would be taken for the server's
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _run(measure: Callable[..., Coroutine[Any, Any, T]], *arguments: Any, **options: Any) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure(*arguments, **options))
