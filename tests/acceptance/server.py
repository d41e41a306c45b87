"""The product as a person gets it: ``make run`` or ``manage.py serve``, in processes and on a database of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from chat.testing.servers import Server

ROOT = Path(__file__).resolve().parents[2]


class DemoServer(Server):
    """With its data in ``folder``, and these settings in its environment.

    It brings its own database up, unless ``DATABASE_URL`` is among its settings; ``prepared`` says that its tables and
    the demo account are there already. With ``CHAT_RUNNER=worker`` in the environment a worker belongs to it that runs
    its turns; a test that names CHAT_RUNNER itself starts its workers itself.
    """

    def __init__(self, folder: Path, *, kind: str = "uvicorn", prepared: bool = False, **settings: object) -> None:
        self.kind = kind
        self.settings = {name: str(value) for name, value in settings.items()}
        prepare = () if prepared else ("--migrate", "--demo", "anywhere")
        kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "GENERIC_PLAN")}
        own = {
            "DJANGO_SETTINGS_MODULE": "chatproject.settings",  # not the tests'
            "DEBUG": "1",
            "DATA_DIR": str(folder / "data"),
            "HOST": "127.0.0.1",
            "PORT": "{port}",
            "SERVER": kind,
            "PGAPPNAME": "server",
        }
        super().__init__(
            (sys.executable, "manage.py", "serve", *prepare, "-v", "0"),
            folder,
            environment=kept | own | self.settings,
            cwd=ROOT,
        )
        if os.environ.get("CHAT_RUNNER") == "worker" and "CHAT_RUNNER" not in settings:
            self.settings["CHAT_WORKER_QUEUE"] = self.environment["CHAT_WORKER_QUEUE"] = f"of {self.port}"
            self.worker = self.made_worker()

    def made_worker(self) -> Server:
        return Worker(self.folder, **self.settings)

    @property
    def cuts_readers_off(self) -> bool:
        """Whether it lets its readers go when it is told to end, though turns of its worker have not ended: they are to
        come back. Daphne waits for the runs of its own process only; the others keep their readers for seconds.
        """
        return self.kind == "daphne" and self.worker is not None

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


class Worker(DemoServer):
    """One process of ``manage.py run_turns``."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, prepared=True, **{**settings, "CHAT_RUNNER": "worker"})
        self.command = [sys.executable, "manage.py", "run_turns"]
        self.environment["PGAPPNAME"] = "worker"

    def launch(self, *command: str) -> None:
        self.log.unlink(missing_ok=True)
        super().launch(*command)

    def answers(self) -> bool:
        return serves_as_worker(self.log)


def serves_as_worker(log: Path) -> bool:
    """Whether a worker has said in its log that it runs turns now."""
    return log.exists() and b"Runs the turns" in log.read_bytes()
