"""The sweeps of ``benchmarks.scaling``: one size at a time from 1 to what the machine bears, and what each one cost."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import LiteralString

import psycopg
from psycopg.sql import SQL, Literal

from benchmarks import client
from benchmarks.client import Client, Span, Target
from benchmarks.history_reads import CHAT, THREAD
from benchmarks.processes import peak_of_tree, quiet, used
from benchmarks.report import say
from benchmarks.stage import Stage
from tests.acceptance.server import ROOT

RATE = 50  # tokens a second and turn, and of the turn that many read
TURNS = 100  # where the rate is what is varied
KEEPS_UP = 0.95  # of the tokens that were offered: below it the machine is full
MB = 1 << 20


PRUNE = """
import time
from chat.store.stream_log import prune
begun = time.perf_counter()
while prune(0):
    pass
print(time.perf_counter() - begun)
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    turns: Sequence[int] = (1, 10, 50, 100, 200, 300)
    rates: Sequence[int] = (5, 20, 50, 100)
    readers: Sequence[int] = (1, 10, 50, 200, 400)
    lengths: Sequence[int] = (2, 100, 200, 400, 800, 1600)
    processes: Sequence[int] = (1, 2, 3)
    idle: int = 1000  # readers that wait
    rated: int = TURNS
    asked: int = 22  # turns for each length of a history
    seconds: float = 3.0
    ramp: float = 1.0
    warm: float = 1.0
    patience: float = 2.0


QUICK = Sizes(
    turns=(1, 3, 6),
    rates=(20, 50, 100),
    readers=(1, 3, 6),
    lengths=(2, 20, 40),
    processes=(1, 2),
    idle=20,
    rated=5,
    asked=3,
    seconds=0.4,
    ramp=0.1,
    warm=0.2,
    patience=0,
)


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement: the size, and what it cost. CPU is in cores, that is seconds a second."""

    size: float
    server: float
    postgres: float
    tokens: float  # a second
    p50: float  # milliseconds from agent to reader
    p99: float
    memory: float  # MB, the most that the server ever had
    wal: float  # bytes for each token, beginning and end of the turns among them
    keeps_up: bool


@dataclass(frozen=True, slots=True)
class Length:
    """A history of so many messages: what a turn in it costs. CPU in milliseconds, WAL in KB."""

    size: float
    first: float  # milliseconds to the first chunk
    server: float
    postgres: float
    wal: float


@dataclass(frozen=True, slots=True)
class Log:
    """What the logs of the turns take, and what taking them away does."""

    turns: int
    tokens: int
    rows: int
    bytes: int
    prune: float  # seconds


@dataclass(frozen=True, slots=True)
class Found:
    turns: list[Point]
    rates: list[Point]
    readers: list[Point]
    processes: list[Point]
    threads: list[Length]
    chats: list[Length]
    idle: float  # bytes that a reader takes who waits
    log: Log


class Sweeps:
    def __init__(self, stage: Stage, load: Client, sizes: Sizes) -> None:
        self.stage, self.load, self.sizes = stage, load, sizes

    def all(self) -> Found:
        url = self.stage.database()
        target = self.stage.serve(DATABASE_URL=url)
        self._paced(target, 5, RATE)  # what is done once is done
        turns = [self._paced(target, number, RATE, size=number) for number in self.sizes.turns]
        rates = [self._paced(target, self.sizes.rated, rate, size=rate) for rate in self.sizes.rates]
        log = self._log(url, target)
        readers = [self._fan_out(target, number) for number in self.sizes.readers]
        threads = list(self._histories(url, target, THREAD, client.sent))
        chats = list(self._histories(url, target, CHAT, client.sent_to_copilot))
        self.stage.stop(target)
        return Found(
            turns=turns,
            rates=rates,
            readers=readers,
            threads=threads,
            chats=chats,
            log=log,
            idle=self._idle(),
            processes=list(self._processes()),
        )

    def _paced(self, target: Target, number: int, rate: float, *, size: float = 0) -> Point:
        sizes = self.sizes
        quiet(0.4, sizes.patience)
        before = self._wal()
        span = self.load.run(
            client.paced, target, number, rate, seconds=sizes.seconds, ramp=sizes.ramp, warm=sizes.warm
        )
        return self._point(f"{number} turns at {rate}/s", size, target, span, number * rate, self._wal() - before)

    def _fan_out(self, target: Target, number: int, size: float | None = None) -> Point:
        sizes = self.sizes
        quiet(0.4, sizes.patience)
        before = self._wal()
        span = self.load.run(client.fan_out, target, number, RATE, seconds=sizes.seconds, warm=sizes.warm)
        wal = self._wal() - before
        return self._point(f"{number} readers", number if size is None else size, target, span, number * RATE, wal)

    def _point(self, what: str, size: float, target: Target, span: Span, offered: float, wal: float) -> Point:
        say(f"{what}: {span.line() if span.delays else 'nothing came in time'}")
        return Point(
            size=size,
            server=span.server / span.seconds,
            postgres=span.postgres / span.seconds,
            tokens=span.tokens / span.seconds,
            p50=span.delay(0.5) if span.delays else math.nan,  # all had ended before they were looked at
            p99=span.delay(0.99) if span.delays else math.nan,
            memory=peak_of_tree(target.pid) / MB,
            wal=wal / span.whole_tokens,
            keeps_up=span.steady and span.tokens / span.seconds > KEEPS_UP * offered,
        )

    def _idle(self) -> float:
        """Of a fresh server: memory that was used before hides what is new."""
        target = self.stage.serve()
        found = self.load.run(client.idle, target, self.sizes.idle, self.stage.dsn)
        say(f"{found.readers} idle readers: {found.bytes_each / 1024:.1f} KB each")
        self.stage.stop(target)
        return found.bytes_each

    def _processes(self) -> Iterator[Point]:
        """One turn and many readers, on more and more processes, to which the kernel deals the connections out."""
        readers = self.sizes.readers[2]
        for number in self.sizes.processes:
            target = self.stage.serve_with("uvicorn", ["--workers", str(number)])
            self._fan_out(target, number)
            yield self._fan_out(target, readers, number)
            self.stage.stop(target)

    def _histories(
        self, url: str, target: Target, make: LiteralString, request: Callable[[Target, str, str], bytes]
    ) -> Iterator[Length]:
        with psycopg.connect(url, autocommit=True) as connection:
            for size in self.sizes.lengths:
                made = connection.execute(SQL(make).format(user=Literal(1), length=Literal(size))).fetchone()
                assert made
                asked = [request(target, "/paced 3 1000", str(made[0])) for _ in range(self.sizes.asked)]
                warm, asked = asked[:2], asked[2:]
                self.load.run(client.answers, target, warm)
                quiet(0.4, self.sizes.patience)
                connection.execute("CHECKPOINT")
                before, wal = used(target.pid, target.postgres), self._wal()
                firsts = self.load.run(client.answers, target, asked)
                after, number = used(target.pid, target.postgres), len(firsts)
                found = Length(
                    size=size,
                    first=median(firsts),
                    server=(after.server - before.server) / number * 1000,
                    postgres=(after.postgres - before.postgres) / number * 1000,
                    wal=(self._wal() - wal) / number / 1024,
                )
                say(f"history of {size}: {found}")
                yield found

    def _log(self, url: str, target: Target) -> Log:
        """Count what the sweeps before have left, and prune it."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE chat_stream_events")
            counted = connection.execute(
                "SELECT count(DISTINCT turn_id), count(*), sum(last_seq - first_seq + 1)::int,"
                " pg_total_relation_size('chat_stream_events') FROM chat_stream_events"
            ).fetchone()
        assert counted
        pruned = subprocess.run(
            [sys.executable, "manage.py", "shell", "-v", "0", "-c", PRUNE],
            cwd=ROOT,
            env=self.stage.environment(target),
            check=True,
            capture_output=True,
            text=True,
        )
        return Log(turns=counted[0], rows=counted[1], tokens=counted[2], bytes=counted[3], prune=float(pruned.stdout))

    def _wal(self) -> int:
        with psycopg.connect(self.stage.dsn, autocommit=True) as connection:
            found = connection.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
        assert found
        return int(found[0])
