"""Several server processes on the test's own database, cheap to kill and to start again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode

from django.db import connection

ROOT = Path(__file__).resolve().parents[2]


class Cluster:
    """Server processes in numbered slots, each on a port of its own that it keeps. See ``tests/acceptance/zygote.py``.

    ``settings`` are environment variables. A server takes requests when ``start`` returns, and when one is reported
    dead, its sessions in the database are, too: nothing that it had sent there is still to come.
    """

    def __init__(self, folder: Path, slots: int = 2, **settings: object) -> None:
        self.log = folder / "servers.log"
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "chatproject.settings",
            "DEBUG": "1",
            "LOG_LEVEL": "WARNING",
            "DATABASE_URL": database_of_this_test(),
            **{name: str(value) for name, value in settings.items()},
        }
        with self.log.open("wb") as log:
            self._zygote = subprocess.Popen(
                [sys.executable, "-m", "tests.acceptance.zygote", str(slots)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.ports: list[int] = self._answer()
        self.pids: list[int | None] = [None] * slots

    def __enter__(self) -> Self:
        for slot in range(len(self.ports)):
            self.start(slot)
        return self

    def __exit__(self, *problem: object) -> None:
        """End all processes, however they are."""
        assert self._zygote.stdin
        assert self._zygote.stdout
        self._zygote.stdin.close()
        self._zygote.wait(10)
        self._zygote.stdout.close()

    def start(self, slot: int, die_at: str = "") -> None:
        """Start a process in a slot that has none; ``die_at`` a commit of ``chat.telemetry`` it kills itself."""
        assert self.pids[slot] is None
        self.pids[slot] = self._ask("fork", slot, die_at)

    def kill(self, slot: int) -> None:
        """kill -9."""
        self._gone(slot, "kill")

    def end(self, slot: int) -> None:
        """SIGTERM, and wait."""
        self._gone(slot, "end")

    def wait(self, slot: int) -> None:
        """Wait until the process of a slot has killed itself."""
        assert os.WTERMSIG(self._gone(slot, "wait")) == signal.SIGKILL, self.log.read_text()

    @property
    def alive(self) -> list[int]:
        return [slot for slot, pid in enumerate(self.pids) if pid is not None]

    def url(self, slot: int, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.ports[slot]}"

    def _gone(self, slot: int, how: str) -> int:
        pid, self.pids[slot] = self.pids[slot], None
        assert pid is not None
        status: int = self._ask(how, pid)
        with connection.cursor() as cursor:
            while True:
                cursor.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = %s", [f"server {pid}"])
                if not cursor.fetchone():
                    return status
                time.sleep(0.002)

    def _ask(self, *words: Any) -> Any:
        assert self._zygote.stdin
        self._zygote.stdin.write(json.dumps(words) + "\n")
        self._zygote.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._zygote.stdout
        line = self._zygote.stdout.readline()
        assert line, self.log.read_text()
        return json.loads(line)


def database_of_this_test() -> str:
    """The libpq URL of the database that this test runs on."""
    settings = connection.settings_dict
    options = {name: value for name, value in settings["OPTIONS"].items() if isinstance(value, str)}
    return f"postgresql:///{quote(settings['NAME'])}?{urlencode(options, quote_via=quote)}"
