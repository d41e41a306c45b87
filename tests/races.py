"""Races of store functions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import close_old_connections, connection

from chat.errors import ChatError
from chat.store.sql import one_transaction, rows

T = TypeVar("T")


def race(jobs: Sequence[Callable[[], T]]) -> list[T | ChatError]:
    """Run the jobs at the same instant, each on a connection of its own; a domain error is a result."""
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], T]) -> T | ChatError:
        close_old_connections()
        barrier.wait(30)
        try:
            return job()
        except ChatError as error:
            return error
        finally:
            close_old_connections()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def while_held(theirs: Callable[[], T], ours: Callable[[], T]) -> tuple[T, T]:
    """What ``theirs`` gives in a transaction of another connection, and what ``ours`` gives while that one holds its
    locks. Waiting for one is an error.
    """
    held, released = threading.Event(), threading.Event()

    def hold() -> T:
        try:
            with one_transaction():
                found = theirs()
                held.set()
                released.wait(10)
            return found
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(hold)
        try:
            assert held.wait(10)
            with one_transaction():
                rows("SET LOCAL lock_timeout = '2s'")
                found = ours()
        finally:
            released.set()
    return other.result(), found
