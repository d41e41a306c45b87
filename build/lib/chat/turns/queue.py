"""Turns that wait for another one: whoever ends a turn begins the next, and the sweeper what was left behind."""

from __future__ import annotations

import uuid

from chat.store import queue
from chat.store.turns import StoredTurn
from chat.streams.writer import process_name
from chat.telemetry import commit


def next_turn(thread_id: uuid.UUID) -> StoredTurn | None:
    """Begin the thread's next queued turn, unless a turn is busy; the caller runs it."""
    if not queue.may_go_on(thread_id):
        return None
    with commit("promote"):
        return queue.promote(thread_id, process_name())
