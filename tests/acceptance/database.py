"""Databases for servers under test: one PostgreSQL, a new database for whoever asks, migrated and with an account."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import orjson
import psycopg

from chat.testing.invariants import EndedTurn, assert_database_is_sound
from tests.acceptance.postgres_owners import Owner, guardians, postmaster
from tests.acceptance.server import ROOT, DemoServer, Worker

OPTIONS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "400"}
TEMPLATE = "chat_template"
OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()"""
PREPARE = """
import django
django.setup()
from django.core.management import call_command
from chat.management.commands.serve import make_demo_account
call_command("migrate", verbosity=0)
make_demo_account()
call_command("create_token", "demo")
"""


@dataclass(frozen=True)
class Database:
    """A database that servers may be started on, any number of them."""

    url: str
    token: str  # of the account ``demo``
    folder: Path

    def server(self, kind: str = "uvicorn", **settings: object) -> DemoServer:
        return DemoServer(self.folder, kind=kind, prepared=True, DATABASE_URL=self.url, **settings)

    def worker(self, **settings: object) -> Worker:
        """One that runs the turns which servers with the setting ``CHAT_RUNNER="worker"`` begin."""
        return Worker(self.folder, DATABASE_URL=self.url, **settings)

    def ask(self, query: str, *params: Any) -> Sequence[tuple[Any, ...]]:
        """The rows of one query, on a connection of its own: any thread may ask."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            # Without parameters a % means itself.
            return connection.execute(query, params or None).fetchall()  # type: ignore[arg-type]

    def live(self) -> int:
        """How many turns have not ended."""
        return int(self.ask("SELECT count(*) FROM chat_turns WHERE status = 'streaming'")[0][0])

    def sound(self, threads: str = "") -> dict[str, EndedTurn]:
        """The turns by the name of their threads, for those whose name begins with ``threads``: all of them ended, one
        a thread, and every invariant holds. Raises AssertionError otherwise.
        """
        turns = assert_database_is_sound(self.ask, f"starts_with(h.client_id, '{threads}')")
        named = {turn.thread: turn for turn in turns}
        assert len(named) == len(turns), "two turns in a thread that got one"
        return named

    def turns(self) -> list[int]:
        """The numbers of all turns there are."""
        return [pk for (pk,) in self.ask("SELECT id FROM chat_turns ORDER BY id")]

    def empty(self) -> None:
        """Forget all conversations and what hangs on them, once no dead server's statement is at work any more."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            while connection.execute(OTHERS).fetchall():
                time.sleep(0.01)
            connection.execute("DELETE FROM procrastinate_jobs")
            connection.execute("DELETE FROM token_usage")
            connection.execute("DELETE FROM chat_threads")
            connection.execute("DELETE FROM copilot_chats")


class Postgres:
    """A server whose databases are copies of one that was migrated once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers, self._lock = count(1), Lock()
        self._idle: list[Database] = []
        self._owner = Owner(folder / "postgres", options=orjson.dumps(OPTIONS).decode())
        self._owner.begin()
        self._url = self._owner.read()
        self._execute(f"CREATE DATABASE {TEMPLATE}")
        self._token = subprocess.run(
            [sys.executable, "-c", PREPARE],
            cwd=ROOT,
            env=DemoServer(folder, DATABASE_URL=self._named(TEMPLATE), CHAT_RUNNER="worker").environment
            | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()

    def database(self) -> Database:
        with self._lock:  # a template that somebody copies has no second copyist
            name = f"chat_{os.getpid()}_{next(self._numbers)}"
            self._execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
        return Database(self._named(name), self._token, self._folder)

    @contextmanager
    def borrowed(self) -> Iterator[Database]:
        """A database that goes to the next who asks, emptied: making one, and removing it, is a thousand files."""
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        database = idle or self.database()
        yield database
        database.empty()
        self._idle.append(database)

    def close(self) -> None:
        """Without the checkpoint that a hundred databases nobody wants any more would cost."""
        self._owner.leave()
        self._owner.close()
        with suppress(OSError):
            for guardian in guardians(self._folder):
                os.kill(guardian, signal.SIGKILL)
            os.kill(postmaster(self._folder / "postgres"), signal.SIGQUIT)

    def _named(self, database: str) -> str:
        return self._url.replace("@/postgres?", f"@/{database}?")

    def _execute(self, sql: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(sql)  # type: ignore[call-overload]
