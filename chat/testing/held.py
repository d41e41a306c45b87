"""Hold the process at a commit, for a test to do something else meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from chat.telemetry import commit_observers

#: Seconds for which a thread is held at most.
PATIENCE = 10


@contextmanager
def held_at(point: str) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Threads that come to this commit point wait: (somebody is there, they may go on). Raises AssertionError where
    one had to go on before it might.
    """
    reached, released, overdue = threading.Event(), threading.Event(), threading.Event()

    def hold(told: str) -> None:
        if told == point:
            reached.set()
            if not released.wait(PATIENCE):
                overdue.set()

    commit_observers.append(hold)
    try:
        yield reached, released
    finally:
        released.set()
        commit_observers.remove(hold)
    assert not overdue.is_set(), f"held at {point} for longer than {PATIENCE} s: what was to come between did not"
