"""The product as a person gets it: ``make run`` or ``manage.py serve``, in processes and on a database of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN = 90.0


class Server:
    """One server process on a free port of loopback, with its data in ``folder``; start, stop, kill and start again.

    It brings its own database up, unless ``DATABASE_URL`` is among its settings; ``prepared`` says that its tables and
    the demo account are there already. With ``CHAT_RUNNER=worker`` in the environment a worker belongs to it that runs
    its turns, starts, is told and ends with it; a test that names CHAT_RUNNER itself starts its workers itself.
    """

    def __init__(self, folder: Path, *, kind: str = "uvicorn", prepared: bool = False, **settings: object) -> None:
        self.folder = folder
        self.kind = kind
        self.prepared = prepared
        self.settings = {name: str(value) for name, value in settings.items()}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"server-{self.port}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.launched = 0.0
        self.worker: Server | None = None
        if by_workers() and "CHAT_RUNNER" not in settings:
            self.settings["CHAT_WORKER_QUEUE"] = f"of {self.port}"
            self.worker = self.made_worker()

    def made_worker(self) -> Server:
        return Worker(self.folder, **self.settings)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "GENERIC_PLAN")}
        return kept | {
            "DJANGO_SETTINGS_MODULE": "chatproject.settings",  # not the tests'
            "DEBUG": "1",
            "DATA_DIR": str(self.folder / "data"),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "SERVER": self.kind,
            **self.settings,
        }

    @property
    def command(self) -> tuple[str, ...]:
        prepare = () if self.prepared else ("--migrate", "--demo")
        return (sys.executable, "manage.py", "serve", *prepare, "-v", "0")

    def start(self, *command: str) -> float:
        """Start it in a process group of its own; returns the seconds until it answered."""
        self.launch(*command)
        return self.until_ready()

    def launch_worker(self) -> None:
        """Once there are tables, for a server that makes them."""
        if self.worker:
            self.worker.launch()
            self.worker.until_ready()

    def launch(self, *command: str) -> None:
        self.launched = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command or self.command,
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def until_ready(self) -> float:
        assert self.process
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() - self.launched > READY_WITHIN:
                raise RuntimeError(f"The server did not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        self.launch_worker()
        return time.monotonic() - self.launched

    def answers(self) -> bool:
        asked = HTTPConnection("127.0.0.1", self.port, timeout=2)  # httpx would read certificates for each try
        try:
            asked.request("GET", "/readyz")
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

    def token(self) -> str:
        """A bearer token of the demo account."""
        made = subprocess.run(
            [sys.executable, "manage.py", "create_token", "demo"],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            check=True,
            text=True,
        )
        return made.stdout.strip()

    def client(self, token: str, timeout: float = 30) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=timeout, verify=False
        )

    def processes(self) -> list[int]:
        """Every process of the machine that names this server's folder: its own, and its database's."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    words = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
                except OSError:
                    continue
                if str(self.folder).encode() in words:
                    found.append(int(folder.name))
        return found


def by_workers() -> bool:
    """Whether the tests are run with workers."""
    return os.environ.get("CHAT_RUNNER") == "worker"


class Worker(Server):
    """One process of ``manage.py run_turns``."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, prepared=True, **{**settings, "CHAT_RUNNER": "worker"})

    @property
    def command(self) -> tuple[str, ...]:
        return (sys.executable, "manage.py", "run_turns")

    def launch(self, *command: str) -> None:
        self.log.unlink(missing_ok=True)
        super().launch(*command)

    def answers(self) -> bool:
        return serves_as_worker(self.log)


def serves_as_worker(log: Path) -> bool:
    """Whether a worker has said in its log that it runs turns now."""
    return log.exists() and b"Runs the turns" in log.read_bytes()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(condition: object, seconds: float = 15) -> bool:
    """Whether ``condition()`` becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False
