"""Several server processes on the test's own database, cheap to kill and to start again."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import quote, urlencode

from django.db import connection

from chat.testing.servers import eventually
from tests.acceptance.preloaded import Nursery, Preloaded, session_name


class Cluster:
    """Server processes in numbered slots, each on a port of its own that it keeps.

    A server takes requests when ``start`` returns, and when one is reported dead, its sessions in the database are,
    too: nothing that it had sent there is still to come.
    """

    def __init__(self, folder: Path, slots: int = 2, **settings: object) -> None:
        self._folder = folder
        self._nursery = Nursery(folder, **settings)
        self._servers = [Preloaded(self._nursery, database_of_this_test()) for _ in range(slots)]
        self.ports = [server.port for server in self._servers]
        self.alive: set[int] = set()

    def __enter__(self) -> Self:
        for slot in range(len(self.ports)):
            self.start(slot)
        return self

    def __exit__(self, *problem: object) -> None:
        """End all processes, however they are."""
        for server in self._servers:
            server.stop()
        self._nursery.close()

    def start(self, slot: int, die_at: str = "") -> None:
        """Start a process in a slot that has none; ``die_at`` a commit of ``chat.telemetry`` it kills itself."""
        assert slot not in self.alive
        self._servers[slot].fault = die_at and f"{die_at}#1:kill"
        self._servers[slot].start()
        self.alive.add(slot)

    def kill(self, slot: int) -> None:
        """kill -9."""
        self._servers[slot].stop()
        self.wait(slot)

    def wait(self, slot: int) -> None:
        """Wait until the process of a slot is gone: it has killed itself."""
        server = self._servers[slot]
        assert eventually(lambda: not server.alive() and not has_sessions(server.pids), 60), self.said()
        self.alive.remove(slot)

    def url(self, slot: int, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.ports[slot]}"

    def said(self) -> str:
        """What all servers have written into their logs."""
        return "".join(log.read_text() for log in sorted(self._folder.glob("server-*.log")))


def has_sessions(pids: list[int]) -> bool:
    """Whether one of these processes has a session in the database."""
    names = [session_name(pid) for pid in pids]
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = ANY (%s)", [names])
        return cursor.fetchone() is not None


def database_of_this_test() -> str:
    """The libpq URL of the database that this test runs on."""
    settings = connection.settings_dict
    options = {name: value for name, value in settings["OPTIONS"].items() if isinstance(value, str)}
    return f"postgresql:///{quote(settings['NAME'])}?{urlencode(options, quote_via=quote)}"
