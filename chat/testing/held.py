"""Hold the process at a commit, for a test to do something else meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from chat.telemetry import commit_observers


@contextmanager
def held_at(point: str) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Threads that come to this commit point wait: (somebody is there, they may go on)."""
    reached, released = threading.Event(), threading.Event()

    def hold(told: str) -> None:
        if told == point:
            reached.set()
            released.wait(10)

    commit_observers.append(hold)
    try:
        yield reached, released
    finally:
        released.set()
        commit_observers.remove(hold)
