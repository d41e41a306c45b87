"""The peers' own programs, from the registries, in folders of their own under ``.data/peers``: made once, then kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.report import say
from tests.acceptance.server import ROOT

FOLDER = ROOT / ".data/peers"
NODE = Path(__file__).parent / "node"
# Debian's Redis and the libraries that Debian's base image does not have.
REDIS = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1")


class NotInstalled(Exception):
    """A peer that cannot be had here, and why."""


def python(name: str, *requirements: str) -> str:
    """The interpreter of a virtual environment with these requirements. Raises NotInstalled."""
    folder = FOLDER / f"venv-{name}"
    interpreter = str(folder / "bin/python")
    pip = (interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
    _once(folder / "installed", "\n".join(requirements), (sys.executable, "-m", "venv", str(folder)), pip)
    return interpreter


def node() -> Path:
    """The folder of the Node server with its packages. Raises NotInstalled."""
    folder = FOLDER / "node"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "server.mjs"):
        shutil.copy(NODE / name, folder)
    wanted = (NODE / "package.json").read_text()
    _once(folder / "installed", wanted, ("npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund"))
    return folder


def redis(program: str = "redis-server") -> tuple[str, ...]:
    """The command of a program of Redis: the machine's, else Debian's, unpacked without being installed. Raises
    NotInstalled.
    """
    if (found := shutil.which(program)) is not None:
        return (found,)
    folder = FOLDER / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    unpack = 'cd "$0" && apt-get download --quiet "$@" && for one in *.deb; do dpkg -x "$one" .; done'
    _once(folder / "installed", "\n".join(REDIS), ("sh", "-c", unpack, str(folder), *REDIS))
    libraries = ":".join(sorted({str(library.parent) for library in folder.rglob("*.so*")}))
    return ("env", f"LD_LIBRARY_PATH={libraries}", str(folder / "usr/bin" / program))


def _once(mark: Path, wanted: str, *commands: tuple[str, ...]) -> None:
    """Run the commands unless ``mark`` says that they were run for what is wanted."""
    if mark.exists() and mark.read_text() == wanted:
        return
    for command in commands:
        say(" ".join(command[:6]))
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as problem:
            raise NotInstalled(f"`{command[0]}` is not here") from problem
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise NotInstalled(f"`{' '.join(command[:4])} …` failed: {last}")
    mark.write_text(wanted)
