"""Turns that wait for another one: whoever ends a turn begins the next, and the sweeper what was left behind."""

from __future__ import annotations

import uuid

from chat.store import queue
from chat.store.turns import StoredTurn
from chat.streams.writer import process_name
from chat.telemetry import commit


def next_turn(thread_id: uuid.UUID) -> StoredTurn | None:
    """Begin the thread's oldest queued turn, unless a turn is busy; the caller runs it (``run.start_run``)."""
    with commit("promote"):
        return queue.promote(thread_id, process_name())


def left_behind() -> list[StoredTurn]:
    """Begin one turn in each thread whose queue nobody has moved on: its process went away between the two."""
    turns = map(next_turn, queue.waiting_threads())
    return [turn for turn in turns if turn is not None]
