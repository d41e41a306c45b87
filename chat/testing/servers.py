"""Servers under test: real processes on ports of their own, that are killed, put to sleep and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import httpx

#: Seconds within which a server must answer.
READY_WITHIN = 90.0


class Server:
    """One process that serves on a free port of loopback.

    ``command`` is run in ``cwd`` with this ``environment``, or our own; ``{port}`` in a word or a value is the port.
    The process is up when ``ready`` answers 200, dies or sleeps where ``fault`` says (see ``chat.testing.faults``), and
    writes to a ``log`` in ``folder``. A ``worker`` is another process that belongs to it: it starts when the server is
    up, is told what it is told, and ends with it.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready: str = "/readyz",
        fault: str = "",
        worker: Server | None = None,
    ) -> None:
        self.folder, self.cwd, self.ready, self.worker = folder, cwd, ready, worker
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"server-{self.port}.log"
        self.command = [word.replace("{port}", str(self.port)) for word in command]
        values = os.environ if environment is None else environment
        self.environment = {name: value.replace("{port}", str(self.port)) for name, value in values.items()}
        self.environment["FAULT"] = fault
        self.process: subprocess.Popen[bytes] | None = None
        self.launched = 0.0

    def start(self, *command: str) -> float:
        """Start it in a process group of its own, with this command or its usual one; returns the seconds until it
        answered. Raises RuntimeError, with what it wrote, where it does not.
        """
        self.launch(*command)
        return self.until_ready()

    def launch(self, *command: str) -> None:
        self.launched = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                command or self.command,
                cwd=self.cwd,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def until_ready(self) -> float:
        while not self.answers():
            if not self.alive() or time.monotonic() - self.launched > READY_WITHIN:
                raise RuntimeError(f"The server did not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        if self.worker and not self.worker.alive():
            self.worker.start()
        return time.monotonic() - self.launched

    def answers(self) -> bool:
        asked = HTTPConnection("127.0.0.1", self.port, timeout=2)  # httpx would read certificates for each try
        try:
            asked.request("GET", self.ready)
            return asked.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            asked.close()

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        self.signal_group(signal.SIGKILL)
        self.wait()

    def send(self, number: signal.Signals) -> None:
        """What a supervisor does: the signal goes to the process itself, and to its worker."""
        assert self.process
        self.process.send_signal(number)
        if self.worker:
            self.worker.send(number)

    def signal_group(self, number: signal.Signals) -> None:
        """What a terminal does: the signal goes to every process of the group."""
        assert self.process
        os.killpg(self.process.pid, number)
        if self.worker and self.worker.alive():
            self.worker.signal_group(number)

    def wait(self, seconds: float = 20) -> int:
        """Wait until it has ended; its exit code."""
        assert self.process
        if self.worker and self.worker.process:
            self.worker.wait(seconds)
        return self.process.wait(seconds)

    def stop(self) -> None:
        """End it whatever state it is in, for the end of a test."""
        if self.worker:
            self.worker.stop()
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)  # a test may have put it to sleep
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.signal_group(signal.SIGKILL)
            self.process.wait()

    def client(self, token: str, timeout: float = 30) -> httpx.Client:
        """A client with a bearer token."""
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout,
            verify=False,  # noqa: S501  (there is no TLS, and certificates take long to read)
        )


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(condition: Callable[[], object], seconds: float = 15) -> bool:
    """Whether ``condition()`` becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False
