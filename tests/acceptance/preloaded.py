"""Servers that are forked from a process which has imported everything but the application: ready after 0.3 s, not 3.

For tests that need dozens of them. Run as a program, this file is that process: it reads one order a line.
"""

from __future__ import annotations

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

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from chat.testing.servers import READY_WITHIN
from tests.acceptance.server import ROOT, DemoServer, serves_as_worker

# What costs time to import and knows nothing of chat.
HEAVY = [
    "channels.routing",
    "csp.middleware",
    "django.contrib.admin.sites",
    "django.core.handlers.asgi",
    "httptools",
    "psycopg_pool",
    "pydantic",
    "rest_framework.views",
    "tenacity",
    "uvicorn.lifespan.on",
    "uvicorn.main",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
    "whitenoise.middleware",
]


class Nursery:
    """The process that forks them."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        environment = DemoServer(folder, DATABASE_URL="postgresql:///none", **settings).environment
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=ROOT,
            env=environment | {"DJANGO_SETTINGS_MODULE": "tests.acceptance.faulty_settings"},
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
        self.given = settings
        named = {"CHAT_RUNNER": "worker"} if concurrency else {}
        super().__init__(nursery.folder, prepared=True, DATABASE_URL=url, **{**settings, **named})
        self.pid = 0

    def made_worker(self) -> Preloaded:
        queue = self.settings["CHAT_WORKER_QUEUE"]
        self.given = {**self.given, "CHAT_WORKER_QUEUE": queue}
        # Both recover what others left, and one of them is to be struck, not first one and then the other.
        fault = "" if self.fault.startswith(("take:", "recover:")) else self.fault
        return Preloaded(self.nursery, self.url_of_database, fault, 100, **self.given)

    def launch(self, *command: str) -> None:
        self.launched = time.monotonic()
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
        if self.worker:
            self.worker.launch()

    def until_ready(self) -> float:
        while not self.answers():
            if not self.alive() or time.monotonic() - self.launched > READY_WITHIN:
                raise RuntimeError(f"The server did not start:\n{self.log.read_text()}")
            time.sleep(0.02)
        if self.worker:
            self.worker.until_ready()
        return time.monotonic() - self.launched

    def answers(self) -> bool:
        return serves_as_worker(self.log) if self.concurrency else super().answers()

    def state(self) -> str:
        """The letter that ps shows: T for one that was stopped; empty for one that is gone."""
        own = state_of(self.pid)
        if self.worker is None:
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

    def send(self, number: signal.Signals) -> None:
        for pid in (self.pid, *([self.worker.pid] if self.worker else [])):
            os.kill(pid, number)

    def stop(self) -> None:
        for pid in (self.pid, *([self.worker.pid] if self.worker else [])):
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
    import django

    django.setup()
    for name in HEAVY:
        importlib.import_module(name)
    assert "chat.streams.writer" not in sys.modules, "a process gets its name at import: not before the fork"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            serve(**json.loads(line))
        print(pid, flush=True)


def serve(url: str, port: int, log: str, fault: str, settings: dict[str, Any], concurrency: int | None) -> None:
    from django.conf import settings as django_settings
    from django.core.management import call_command
    from django.db import connections
    from uvicorn.main import main as uvicorn

    from chat.management.commands.serve import SERVERS
    from chat.testing.faults import arm
    from chatproject.settings import database

    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)):
        os.dup2(os.open(path, flags), number)
    os.dup2(1, 2)
    connections.settings["default"].update(database(url))
    for name, value in settings.items():
        setattr(django_settings, name, value)
    arm(fault)
    if concurrency:
        call_command("run_turns", concurrency=concurrency)
    else:
        uvicorn(SERVERS["uvicorn"]("127.0.0.1", port, "chatproject.asgi:application")[1:])
    os._exit(0)


if __name__ == "__main__":
    main()
