"""How many round trips a turn makes, as PostgreSQL itself logs them (``log_statement = all``).

Every message that a client sends and waits for is one line there: statements, BEGIN and COMMIT, and the empty query
with which a pool asks whether a connection is alive.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.client import Target
from benchmarks.stage import Stage
from chat.testing.client import said

# A line of the log: which process, and what it was told.
PREFIX = "%p|"
LINE = re.compile(r"^(\d+)\|LOG:  (?:statement|execute [^:]*): (.*(?:\n\t.*)*)", re.MULTILINE)
# What the pulse of a process says at each beat, over a connection that it keeps for itself (chat/turns/heartbeat.py).
SWEEP = re.compile(r"\bSKIP LOCKED\b")
READ = re.compile(r"string_agg\(e\.chunks")  # not the pruning, which looks for what is old
SETTLE = 0.15  # seconds until what was said has been written
TURNS = 3


@contextmanager
def logged(stage: Stage) -> Iterator[Log]:
    """PostgreSQL logs every statement meanwhile."""
    stage.execute("ALTER SYSTEM SET log_statement = 'all'")
    stage.execute(f"ALTER SYSTEM SET log_line_prefix = '{PREFIX}'")
    stage.execute("SELECT pg_reload_conf()")
    time.sleep(SETTLE)
    try:
        yield Log(stage.log)
    finally:
        stage.execute("ALTER SYSTEM RESET ALL")
        stage.execute("SELECT pg_reload_conf()")


@dataclass(frozen=True, slots=True)
class Said:
    """A statement, and the backend that it was said to: its pid."""

    pid: str
    statement: str


class Log:
    """What was said since this was made, or since the last ``take``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size

    def take(self) -> list[Said]:
        """The statements since the last time."""
        time.sleep(SETTLE)
        with self._path.open("rb") as log:
            log.seek(self._at)
            written = log.read()
        self._at += len(written)
        return told(written.decode(errors="replace"))


def told(log: str) -> list[Said]:
    """The statements in PostgreSQL's log."""
    return [Said(found[1], " ".join(found[2].split())) for found in LINE.finditer(log)]


def of_turns(*takes: list[Said]) -> list[list[str]]:
    """The statements of each of these, without those of connections over which a sweeper speaks as well."""
    sweepers = {one.pid for take in takes for one in take if SWEEP.search(one.statement)}
    return [[one.statement for one in take if one.pid not in sweepers] for take in takes]


@dataclass(frozen=True, slots=True)
class Trips:
    """The statements of one turn, by what they were for. Appends to the log are not among them."""

    authenticate: list[str]
    begin: list[str]
    finish: list[str]
    checks: int  # empty queries around all of it: a pool asks whether the connection it hands out is alive


def trips_of_a_turn(stage: Stage, target: Target) -> Trips:
    """The one in the middle of a few turns."""
    found = [_watched(stage, target) for _ in range(TURNS)]
    return sorted(found, key=lambda trips: len(trips.begin) + len(trips.finish))[TURNS // 2]


def _watched(stage: Stage, target: Target) -> Trips:
    """The second turn of a thread, on connections that are open."""
    thread = uuid.uuid4().hex
    with httpx.Client(
        base_url=f"http://127.0.0.1:{target.port}", headers={"Authorization": f"Bearer {target.token}"}, timeout=30
    ) as client:
        client.post("/api/chat", json=said(thread, "/paced 2 50", "one")).raise_for_status()
        with logged(stage) as log, client.stream("POST", "/api/chat", json=said(thread, "/paced 2 1", "two")) as answer:
            beginning: list[Said] = []
            for line in answer.iter_lines():
                if "text-delta" in line:  # at the second one, a second later: what was logged late
                    beginning += log.take()
            ending = log.take()
    began, ended = of_turns(beginning, ending)
    checks = sum(not statement for statement in (*began, *ended))
    began = [statement for statement in began if statement and not _appends(statement)]
    who = [statement for statement in began if "chat_api_token" in statement]
    return Trips(
        authenticate=who,
        begin=[statement for statement in began if statement not in who],
        finish=[statement for statement in ended if statement and not _appends(statement)],
        checks=checks,
    )


def reads_of_the_log(log: list[Said]) -> int:
    """How many of them read chunks back."""
    return sum(bool(READ.search(one.statement)) for one in log)


def _appends(statement: str) -> bool:
    """Whether it is the writer's; the end of a turn writes to the log as well."""
    return "INSERT INTO chat_stream_events" in statement and "UPDATE chat_turns" not in statement
