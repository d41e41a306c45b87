"""A PostgreSQL that a test starts, stops and restarts itself: the product's own supervisor would bring its back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from chatproject import embedded_postgres

# fsync guards against a crash of the machine, not of the server; synchronous_commit stays on.
SETTINGS = ["fsync=off", "max_connections=200"]


class Cluster:
    """``url`` is what servers get as DATABASE_URL; the folder must be one that an ordinary user reaches.
    ``settings`` are PostgreSQL's, e.g. ``max_connections=20``.
    """

    def __init__(self, root: Path, *settings: str) -> None:
        self.is_up = False
        self._settings = [*SETTINGS, *settings]
        self.url = embedded_postgres.dsn(root)
        self._place = embedded_postgres._place(root)
        embedded_postgres._make_folders(self._place, root)
        self._folder = embedded_postgres._usable_binaries(self._place)
        embedded_postgres._initdb(self._place, self._folder, self._settings)

    def start(self) -> None:
        """Returns when it takes connections."""
        options = [*self._settings, "listen_addresses=", f"unix_socket_directories='{self._place.sockets}'"]
        flags = [f"--options={' '.join(f'-c {option}' for option in options)}"]
        self._pg_ctl("start", *flags)
        self.is_up = True

    def restart(self, mode: str) -> None:
        """``fast`` tells every backend to end, ``immediate`` is a crash with its recovery."""
        self._pg_ctl("restart", f"--mode={mode}")

    def stop(self, mode: str = "fast") -> None:
        self.is_up = False
        self._pg_ctl("stop", f"--mode={mode}")

    def _pg_ctl(self, what: str, *flags: str) -> None:
        data = self._place.home / "data"
        program = [self._folder / "pg_ctl", what, f"--pgdata={data}", f"--log={data}/server.log", "--wait", *flags]
        words = program if what != "stop" else [word for word in program if "--log" not in str(word)]
        told = subprocess.run(
            words, stdout=subprocess.DEVNULL, check=False, **embedded_postgres._as_server(self._place)
        )
        assert told.returncode == 0, (data / "server.log").read_text()[-2000:]

    def configure(self, change: str) -> None:
        """``SET fsync = on``, ``RESET ALL``: from now on, for open sessions as well."""
        self.query(f"ALTER SYSTEM {change}")
        self.query("SELECT pg_reload_conf()")

    def query(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5, row_factory=dict_row) as connection:
            cursor = connection.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of one query, as ``chat.testing`` wants them."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            return connection.execute(sql).fetchall()  # type: ignore[call-overload,no-any-return]

    def connections(self, of: str = "server") -> int:
        """How many the processes hold that name themselves so: ``server`` or ``worker`` (see ``DemoServer``)."""
        found = self.query("SELECT count(*) AS number FROM pg_stat_activity WHERE application_name = %s", of)
        return int(found[0]["number"])

    def working(self) -> list[dict[str, Any]]:
        """The connections that are in the middle of something."""
        return self.query(
            "SELECT pid, state, query FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'"
        )


@contextmanager
def running_cluster(root: Path, *settings: str) -> Iterator[Cluster]:
    """A new one, that runs."""
    cluster = Cluster(root, *settings)
    cluster.start()
    try:
        yield cluster
    finally:
        if cluster.is_up:
            cluster.stop("immediate")
