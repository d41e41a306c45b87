"""Where the benchmarks take place: a PostgreSQL of their own with its usual, durable settings, and real servers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from threading import Lock
from types import TracebackType

import psutil
import psycopg

from benchmarks.client import Target
from chat.management.commands.serve import SERVERS
from tests.acceptance.server import ROOT, DemoServer, Worker

QUIET = 600  # seconds: nothing comes up by itself while something is measured


class Stage:
    """A context manager. Everything that it started is gone when it is left. Servers may be started from threads."""

    def __init__(self) -> None:
        self._exit = ExitStack()
        self._servers: dict[Target, DemoServer] = {}
        self._numbers = count()
        self._one_at_a_time = Lock()

    def __enter__(self) -> Stage:
        # Not where only its maker may go: PostgreSQL runs as another user when we are root.
        folder = self._exit.enter_context(tempfile.TemporaryDirectory(prefix="chat-benchmarks-", dir="/tmp"))
        self.folder = Path(folder)
        self.folder.chmod(0o755)
        root = self.folder / "postgres"
        # A child holds the database, so that it ends with it and not with this process.
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert holder.stdin
        assert holder.stdout
        self._exit.callback(_end, holder, root)
        self.dsn = holder.stdout.readline().strip()
        if not self.dsn:
            raise RuntimeError("PostgreSQL did not start.")
        self.postgres = _postmaster(root)
        self.log = root / "server.log"
        self.token = self._prepared()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._exit.close()

    def serve(self, kind: str = "uvicorn", **settings: object) -> Target:
        """A server of the product on a fresh database, which no other server's notifications reach."""
        return self.serve_with(kind, (), **settings)

    def serve_with(self, kind: str, options: Sequence[str], **settings: object) -> Target:
        """The same with more words for the server's command."""
        quiet = {f"CHAT_{what}_SECONDS": QUIET for what in ("LEASE", "LISTEN_CHECK", "KEEP_ALIVE")}
        settings = {"CHAT_AGENT": "benchmarks.agent.agent", **quiet, **settings}
        settings.setdefault("DATABASE_URL", self.database())
        return self._start(kind, "chatproject.asgi:application", self.token, settings, *options)

    def database(self) -> str:
        """The URL of a fresh database with tables and a user."""
        with self._one_at_a_time:
            name = f"stage_{next(self._numbers)}"
            self.execute(f"CREATE DATABASE {name} TEMPLATE postgres")
        return self.dsn.replace("/postgres?", f"/{name}?")

    def work_for(self, target: Target) -> int:
        """A worker for a server with ``CHAT_RUNNER="worker"``, with the same settings; its pid."""
        worker = Worker(self.folder, **self._servers[target].settings)
        self._exit.callback(worker.stop)
        worker.start()
        assert worker.process
        return worker.process.pid

    def serve_bare(self, kind: str = "uvicorn") -> Target:
        """The bare view, which has no database, on the same server with the same options."""
        no_lifespan = ["--lifespan", "off"] if kind == "uvicorn" else []  # plain Django has none
        return self._start(kind, "benchmarks.bare:application", "", {}, *no_lifespan)

    def environment(self, target: Target) -> dict[str, str]:
        """What a server was started with, for a command beside it."""
        return self._servers[target].environment

    def stop(self, target: Target) -> None:
        self._servers[target].stop()

    def execute(self, statement: str) -> None:
        """Run one statement on the stage's database."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement)

    def _start(self, kind: str, application: str, token: str, settings: dict[str, object], *options: str) -> Target:
        server = DemoServer(self.folder, kind=kind, prepared=True, **PRODUCTION, **settings)
        self._exit.callback(server.stop)
        server.start(sys.executable, "-m", *SERVERS[kind]("127.0.0.1", server.port, application), *options)
        assert server.process
        target = Target(server.port, server.process.pid, token, self.postgres if token else None)
        self._servers[target] = server
        return target

    def _prepared(self) -> str:
        """Make the tables and a user; the user's token."""
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "-v", "0", "-c", PREPARE],
            cwd=ROOT,
            env={
                **os.environ,
                **PRODUCTION,
                "DATABASE_URL": self.dsn,
                "CHAT_RUNNER": "worker",  # with the tables of jobs
                "DJANGO_SETTINGS_MODULE": "chatproject.settings",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"The database could not be prepared:\n{done.stderr}")
        return done.stdout.strip()


# DEBUG would keep every statement in memory.
PRODUCTION = {"DEBUG": "0", "SECRET_KEY": "benchmarks", "ALLOWED_HOSTS": "127.0.0.1", "CHAT_DRAIN_SECONDS": "0.1"}

PREPARE = """
from django.contrib.auth import get_user_model
from django.core.management import call_command
from chat.store.tokens import create_token
call_command("migrate", verbosity=0)
get_user_model().objects.create_user("reader")
print(create_token("reader"))
"""

HOLDER = """
import sys
from pathlib import Path
from chatproject import embedded_postgres
print(embedded_postgres.start(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def _postmaster(root: Path) -> int:
    return int((root / "data/postmaster.pid").read_text().split()[0])


def _end(holder: subprocess.Popen[str], root: Path) -> None:
    """Let the database go, and wait until its files are nobody's."""
    left = []
    with suppress(OSError, psutil.NoSuchProcess):
        postmaster = psutil.Process(_postmaster(root))
        left = [postmaster, *postmaster.parents()[:1]]  # with the guardian that started it
    if holder.stdin:
        holder.stdin.close()
    holder.wait(20)
    psutil.wait_procs(left, 20)
