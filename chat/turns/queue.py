"""Turns that wait for another one: whoever ends a turn begins the next, and the sweeper what was left behind."""

from __future__ import annotations

import uuid

from chat.store import queue
from chat.store.turns import StoredTurn
from chat.streams.writer import process_name
from chat.telemetry import commit


def next_turns(*threads: uuid.UUID) -> list[StoredTurn]:
    """Begin the oldest queued turn of each thread in which no turn is busy; the caller runs them."""
    begun = []
    for thread in threads:
        with commit("promote"):
            turn = queue.promote(thread, process_name())
        if turn is not None:
            begun.append(turn)
    return begun


def left_behind() -> list[StoredTurn]:
    """The same in threads whose queue nobody has moved on: a process went away between an end and the next turn."""
    return next_turns(*queue.waiting_threads())
