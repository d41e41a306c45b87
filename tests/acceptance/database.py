"""Databases for servers under test: one PostgreSQL, a new database for whoever asks, migrated and with an account."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import orjson
import psycopg

from tests.acceptance.postgres_owners import Owner
from tests.acceptance.server import ROOT, Server
from tests.invariants import EndedTurn, assert_database_is_sound

OPTIONS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "400"}
TEMPLATE = "chat_template"
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

    def server(self, kind: str = "uvicorn", **settings: object) -> Server:
        return Server(self.folder, kind=kind, DATABASE_URL=self.url, **settings)

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

    def fingerprint(self) -> list[tuple[Any, ...]]:
        """All that a turn may write, row by row, with its transaction and place: a row rewritten as it was shows."""
        return [
            row
            for table in ("chat_stream_events", "chat_messages", "token_usage", "chat_turns", "chat_threads")
            for row in self.ask(f"SELECT '{table}', xmin::text, ctid::text, md5(r::text) FROM {table} r ORDER BY ctid")
        ]


class Postgres:
    """A server whose databases are copies of one that was migrated once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers, self._lock = count(1), Lock()
        self._owner = Owner(folder / "postgres", options=orjson.dumps(OPTIONS).decode())
        self._owner.begin()
        self._url = self._owner.read()
        self._execute(f"CREATE DATABASE {TEMPLATE}")
        self._token = subprocess.run(
            [sys.executable, "-c", PREPARE],
            cwd=ROOT,
            env=Server(folder, DATABASE_URL=self._named(TEMPLATE)).environment | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()

    def database(self) -> Database:
        with self._lock:  # a template that somebody copies has no second copyist
            name = f"chat_{os.getpid()}_{next(self._numbers)}"
            self._execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return Database(self._named(name), self._token, self._folder)

    def close(self) -> None:
        self._owner.leave()
        self._owner.close()

    def _named(self, database: str) -> str:
        return self._url.replace("@/postgres?", f"@/{database}?")

    def _execute(self, sql: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(sql)  # type: ignore[call-overload]


@contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Start the servers, all at once, and end them afterwards, in whatever state they are."""
    try:
        start_all(*servers)
        yield
    finally:
        for server in servers:
            server.stop()


def start_all(*servers: Server) -> None:
    """Start the servers at once: most of a start is one processor's work."""
    for server in servers:
        server.launch()
    for server in servers:
        server.until_ready()
