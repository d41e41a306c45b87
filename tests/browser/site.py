"""The React example: its packages, and a built or a watched site of it."""

from __future__ import annotations

import fcntl
import subprocess
import time
from pathlib import Path

import httpx

from tests.acceptance.server import ROOT
from tests.conftest import needed

EXAMPLE = ROOT / "examples" / "react"


def installed(folder: Path) -> None:
    """Its node_modules are there, whoever else wants them at the same time."""
    with (folder / "package.json").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if (folder / "node_modules" / ".package-lock.json").exists():
            return
        npm(folder, "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts")


def npm(folder: Path, *arguments: str) -> None:
    command = [needed("npm", "the React examples are built with it"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


def until_up(url: str, process: subprocess.Popen[bytes]) -> str:
    """The address, when something answers there."""
    for _ in range(300):
        assert process.poll() is None, f"the server of {url} has ended"
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return url
    raise AssertionError(f"nothing answers at {url}")
