"""Owners of an embedded PostgreSQL, processes that call ``start()`` and wait, and what is seen of it."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from chatproject import embedded_postgres

REPOSITORY = Path(__file__).resolve().parents[2]

OWNER = """
import json, os, sys
from pathlib import Path
from chatproject.embedded_postgres import start
print("here", flush=True)
if sys.stdin.readline():
    print(start(Path(sys.argv[1]), options=json.loads(sys.argv[2])), flush=True)
    if program := sys.argv[3:]:
        os.execv(program[0], program)
    sys.stdin.read()
"""


class Owner:
    """A process that calls ``start(root)``; ``leave()`` lets it end, ``process`` is there to be killed."""

    def __init__(self, root: Path, who: str = "us", exec_: tuple[str, ...] = (), **environment: str) -> None:
        python, as_user = sys.executable, {}
        if who == "nobody":
            nobody = pwd.getpwnam("nobody")
            as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            python = ordinary_python()
            environment.setdefault("CHAT_POSTGRES_BIN", str(embedded_postgres.binaries()))
        options = environment.pop("options", json.dumps({"fsync": "off"}))
        self.process = subprocess.Popen(
            [python, "-c", OWNER, str(root), options, *exec_],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # its own Ctrl-C
            **as_user,
        )
        assert self.read() == "here"

    def begin(self) -> None:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def read(self) -> str:
        line = self.process.stdout.readline().strip()
        assert line, self.process.stderr.read()
        return line

    def leave(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def error(self) -> str:
        """What it says when ``start()`` raises."""
        self.begin()
        assert self.process.wait(30) == 1
        return self.process.stderr.read()

    def close(self) -> None:
        self.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()


def ordinary_python() -> str:
    for python in (sys.executable, "/usr/local/bin/python3", "/usr/bin/python3"):
        try:
            subprocess.run([python, "-c", "import tomllib"], user="nobody", check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    pytest.skip("no Python 3.11 that an ordinary user could run")


def shared_folder() -> Iterator[Path]:
    """A folder that everybody reaches (pytest's tmp_path nobody else does); no process of it may be left."""
    folder = Path(tempfile.mkdtemp(prefix="chat postgres-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    homes = [folder, *(link.resolve() for link in folder.rglob("*") if link.is_symlink())]
    try:
        for home in homes:
            until_gone(home)
    finally:
        for home in homes:
            kill_all(home)
            if home == folder or home.parent == embedded_postgres.ELSEWHERE:
                shutil.rmtree(home, ignore_errors=True)


def until(true: Callable[[], object], what: str, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def kill_all(home: Path) -> None:
    while left := processes(home):
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def until_gone(home: Path) -> None:
    until(lambda: not processes(home), "no process of the server is left", 10)


def query(dsn: str, sql: str) -> Any:
    with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


def answers(dsn: str) -> bool:
    try:
        return query(dsn, "select true")
    except psycopg.OperationalError:
        return False


def processes(home: Path) -> dict[int, str]:
    """Pids and commands of what runs for the data in ``home``: guardian, initdb, postmaster, backends."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
            inside = (process / "cwd").readlink().is_relative_to(home)
        except OSError:
            continue
        if command and OWNER not in command and (inside or str(home) in command):
            found[int(process.name)] = command
    return found


def guardians(home: Path) -> list[int]:
    return [pid for pid, command in processes(home).items() if "embedded_postgres.py" in command]


def postmaster(root: Path) -> int:
    return int((root / "data/postmaster.pid").read_text().split()[0])


def is_used(root: Path) -> bool:
    """Whether anybody holds the server: its guardian will not stop it while this is true."""
    with open(root / "users.lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
