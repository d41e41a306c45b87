"""Servers that are forked from a process which has loaded the application: ready after 0.1 s, not 3.

For tests that need dozens of them. Run as a program, this file is that process: it reads one order a line. What it
forks is the real server: uvicorn as ``manage.py serve`` starts it, the project's settings, its ASGI application.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from chat.testing.servers import READY_WITHIN
from tests.acceptance.server import ROOT, DemoServer, serves_as_worker

# What uvicorn imports when it starts.
OF_UVICORN = ("lifespan.on", "loops.auto", "protocols.http.auto", "protocols.websockets.auto")


class Nursery:
    """The process that forks them."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.preloaded"],
            cwd=ROOT,
            env=DemoServer(folder, DATABASE_URL="postgresql:///none", **settings).environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def fork(self, order: dict[str, Any]) -> int:
        assert self._process.stdin
        assert self._process.stdout
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


class Preloaded(DemoServer):
    """One of them; ``fault`` is where it strikes, see ``faults``. With a ``concurrency`` it is a worker that runs so
    many turns at once.

    What strikes a server or its worker strikes both, as soon as somebody looks: together they are what others call one
    process.
    """

    worker: Preloaded | None

    def __init__(
        self, nursery: Nursery, url: str, fault: str = "", concurrency: int | None = None, **settings: object
    ) -> None:
        self.nursery, self.url_of_database, self.fault, self.concurrency = nursery, url, fault, concurrency
        self.fault_of_worker = ""  # where that is another
        self.given = settings
        named = {"CHAT_RUNNER": "worker"} if concurrency else {}
        super().__init__(nursery.folder, prepared=True, DATABASE_URL=url, **{**settings, **named})
        self.pid = 0

    def made_worker(self) -> Preloaded:
        queue = self.settings["CHAT_WORKER_QUEUE"]
        self.given = {**self.given, "CHAT_WORKER_QUEUE": queue}
        return Preloaded(self.nursery, self.url_of_database, "", 100, **self.given)

    def launch(self, *command: str) -> None:
        self.launched = time.monotonic()
        if self.concurrency:
            self.log.unlink(missing_ok=True)  # where an earlier run says that it serves
        self.pid = self.nursery.fork(
            {
                "url": self.url_of_database,
                "port": self.port,
                "log": str(self.log),
                "fault": self.fault,
                "settings": self.given,
                "concurrency": self.concurrency,
            }
        )
        if self.worker and self.fault.startswith(("take:", "recover:")):
            # It recovers as well, and would leave nothing to strike at. It begins when the server goes on.
            self.worker.pid = 0
        elif self.worker:
            self.worker.fault = self.fault_of_worker or self.fault
            self.worker.launch()

    def until_ready(self) -> float:
        while not self.answers():
            if not self.alive() or time.monotonic() - self.launched > READY_WITHIN:
                raise RuntimeError(f"The server did not start:\n{self.log.read_text()}")
            time.sleep(0.02)
        if self.worker and self.worker.pid:
            self.worker.until_ready()
        return time.monotonic() - self.launched

    def answers(self) -> bool:
        return serves_as_worker(self.log) if self.concurrency else super().answers()

    def state(self) -> str:
        """The letter that ps shows: T for one that was stopped; empty for one that is gone."""
        own = state_of(self.pid)
        if self.worker is None or not self.worker.pid:
            return own
        theirs = state_of(self.worker.pid)
        if own in STRUCK or theirs in STRUCK:
            for state, other in ((own, self.worker.pid), (theirs, self.pid)):
                with suppress(ProcessLookupError):
                    if state in STRUCK:
                        os.kill(other, signal.SIGSTOP if state == "T" else signal.SIGKILL)
        return own if own in STRUCK else theirs

    def alive(self) -> bool:
        return self.state() not in GONE

    def struck(self) -> bool:
        """Whether it is dead or stopped."""
        return self.state() in STRUCK

    @property
    def pids(self) -> list[int]:
        return [one.pid for one in (self, self.worker) if one and one.pid]

    def send(self, number: signal.Signals) -> None:
        for pid in self.pids:
            os.kill(pid, number)
        if number == signal.SIGCONT and self.worker and not self.worker.pid:
            self.worker.fault = ""
            self.worker.launch()

    def stop(self) -> None:
        for pid in self.pids:
            with suppress(ProcessLookupError):
                if pid:
                    os.kill(pid, signal.SIGKILL)


GONE = ("", "Z", "X")
STRUCK = (*GONE, "T")


def state_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def main() -> None:
    """Load all that a server needs, before any thread or connection exists; then fork."""
    from django.db import connection
    from django.urls import resolve

    for name in ("chatproject.asgi", *(f"uvicorn.{name}" for name in OF_UVICORN)):
        importlib.import_module(name)
    resolve("/api/chat")  # imports every view
    connection.get_connection_params()  # loads psycopg's adapters; connects to nothing
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        assert threading.active_count() == 1, "a fork would copy locks that other threads hold"
        pid = os.fork()
        if not pid:
            serve(**json.loads(line))
        print(pid, flush=True)


def serve(url: str, port: int, log: str, fault: str, settings: dict[str, Any], concurrency: int | None) -> None:
    from django.core.management import call_command
    from django.db import connections
    from django.test import override_settings
    from uvicorn.main import main as uvicorn

    from chat.management.commands.serve import SERVERS
    from chat.testing.faults import arm
    from chatproject.settings import database

    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)):
        os.dup2(os.open(path, flags), number)
    os.dup2(1, 2)
    os.environ["PGAPPNAME"] = session_name(os.getpid())
    connections.settings["default"].update(database(url))
    override_settings(**settings).enable()
    arm(fault)
    if concurrency:
        call_command("run_turns", concurrency=concurrency)
    else:
        uvicorn(SERVERS["uvicorn"]("127.0.0.1", port, "chatproject.asgi:application")[1:])
    os._exit(0)


def session_name(pid: int) -> str:
    """The name that the sessions of such a process have in the database."""
    return f"server {pid}"


if __name__ == "__main__":
    main()
