"""What the application tells of its own work while it happens.

The commits that a turn's life hangs on are announced by name, before and after: ``begin``, ``append``, ``finish``,
``park`` and ``decide`` (of a turn that waits and goes on), ``take`` and ``recover`` (the two of a recovery),
``enqueue``, ``promote``, ``claim`` (by a worker, of a turn that was begun elsewhere); and the part of a commit that
writes the mirror of a copilot chat, ``mirror``. A test stops or kills the process there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Called with ``<name>:before`` and ``<name>:after``, in the thread that commits.
commit_observers: list[Callable[[str], None]] = []


@contextmanager
def commit(name: str) -> Iterator[None]:
    """Around one commit. A commit that fails has no ``after``."""
    _tell(f"{name}:before")
    yield
    _tell(f"{name}:after")


def _tell(point: str) -> None:
    for observer in commit_observers:
        observer(point)
