"""What processes have used: CPU seconds and memory, by pid."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil


class Used(NamedTuple):
    """CPU seconds since each one's start: of the server's processes, of PostgreSQL's, and of the whole machine."""

    server: float
    postgres: float
    machine: float


def used(server: int, postgres: int | None = None) -> Used:
    """What a server and a PostgreSQL have used so far, each named by the pid at the root of its processes."""
    times = psutil.cpu_times()
    busy = times.user + times.nice + times.system + times.irq + times.softirq
    return Used(cpu_of_tree(server), cpu_of_tree(postgres) if postgres else 0.0, busy)


def cpu_of_tree(pid: int) -> float:
    """User and system seconds of a process and all its descendants, also of those that ended."""
    ended = psutil.Process(pid).cpu_times()
    seconds: float = ended.children_user + ended.children_system
    for process in tree(pid):
        with suppress(psutil.NoSuchProcess):  # it has ended since
            times = process.cpu_times()
            seconds += times.user + times.system
    return seconds


def memory_of_tree(pid: int) -> int:
    """Bytes of resident memory of a process and all its descendants."""
    return sum(int(process.memory_info().rss) for process in tree(pid))


def peak_of_tree(pid: int) -> int:
    """Bytes of resident memory that a process and all its descendants had at most, each at its own time (Linux)."""
    found = 0
    for process in tree(pid):
        (told,) = (line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmHWM" in line)
        found += int(told.split()[1]) * 1024
    return found


def quiet(cores: float, patience: float) -> bool:
    """Wait until the machine uses less than ``cores``, ``patience`` seconds at most; whether it does."""
    deadline = time.monotonic() + patience
    while patience:
        if psutil.cpu_percent(0.5) / 100 * (psutil.cpu_count() or 1) < cores:
            return True
        if time.monotonic() > deadline:
            break
    return False


def tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    found = [root]
    for child in root.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.cpu_times()
            found.append(child)
    return found
