"""Where the peers meet: the benchmarks' stage, with a Redis beside its PostgreSQL, and what each of them used."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import ExitStack
from functools import cached_property
from itertools import count
from pathlib import Path
from types import TracebackType

import psutil

from benchmarks.peers import install
from benchmarks.processes import cpu_of_tree
from benchmarks.stage import Stage
from chat.testing.servers import eventually, free_port
from tests.acceptance.server import DemoServer


class Place:
    """A context manager. Everything that was started by it is gone when it is left. ``lease`` is for how many seconds
    this project takes the process of a turn for alive.
    """

    def __init__(self, lease: str = "30") -> None:
        self.lease = lease
        self._exit = ExitStack()
        self._numbers = count()
        self._redis: psutil.Process | None = None

    def __enter__(self) -> Place:
        self.folder = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="chat-peers-", dir="/tmp")))
        self.stage = self._exit.enter_context(Stage())
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._exit.close()

    def database(self, template: str = "template0") -> dict[str, str]:
        """A database of its own, as the environment variables by which programs find theirs: with the product's tables
        where the template is ``postgres``.
        """
        name = f"peer_{next(self._numbers)}"
        self.stage.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        url = self.stage.dsn.replace("/postgres?", f"/{name}?")
        sockets, port = url.partition("?host=")[2].split("&port=")
        return {"DATABASE_URL": url, "PGHOST": sockets, "PGPORT": port, "PGUSER": "postgres", "PGDATABASE": name}

    @cached_property
    def redis(self) -> str:
        """The URL of a Redis with its usual settings. Raises NotInstalled."""
        port = free_port()
        command = (*install.redis(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(self.folder))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self._exit.callback(process.wait, 20)
        self._exit.callback(process.terminate)
        self._redis = psutil.Process(process.pid)
        if not eventually(lambda: bool(self._redis and self._redis.net_connections())):
            raise install.NotInstalled("Redis did not start")
        return f"redis://127.0.0.1:{port}/0"

    def beside(self) -> float:
        """CPU seconds that PostgreSQL and Redis have used so far."""
        redis = cpu_of_tree(self._redis.pid) if self._redis else 0.0
        return cpu_of_tree(self.stage.postgres) + redis

    def serve(self, *command: str, **settings: str) -> DemoServer:
        """A server on a free port that ends with this place."""
        # Many programs take any DEBUG, even 0, for a wish to hear of every chunk.
        server = DemoServer(self.folder, prepared=True, **{"DEBUG": "", **settings})
        self._exit.callback(server.stop)
        server.start(*(word.format(port=server.port) for word in command))
        return server


def uvicorn(interpreter: str, application: str, *options: str) -> tuple[str, ...]:
    """The command line of the server that all Python peers have, with the options that ours has."""
    usual = ("--backlog", "4096", "--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "5")
    return (interpreter, "-m", "uvicorn", application, "--host", "127.0.0.1", "--port", "{port}", *usual, *options)
