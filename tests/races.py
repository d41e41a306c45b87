"""Races of store functions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any, TypeVar

from django.db import close_old_connections, connection

from chat.errors import ChatError
from chat.store.sql import one_transaction, row, rows

T = TypeVar("T")
U = TypeVar("U")


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


def behind(theirs: Callable[[], T], ours: Callable[[], U], meanwhile: Callable[[], Any] | None = None) -> tuple[T, Any]:
    """What ``theirs`` gives, and what ``ours`` gives that came in the middle of their transaction: it is committed when
    ours waits for it, and ``meanwhile`` was done. Not to wait is an error; a domain error is a result.
    """
    pids: Queue[int] = Queue()

    def run() -> U | ChatError:
        try:
            pids.put(backend_pid())
            return ours()
        except ChatError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with one_transaction():
            found = theirs()
            other = pool.submit(run)
            pid = pids.get(timeout=10)
            while not waits(pid):
                assert not other.done(), f"it waited for nobody: {other.exception() or other.result()}"
            if meanwhile is not None:
                meanwhile()
        return found, other.result(10)


def backend_pid() -> int:
    """The process of PostgreSQL that serves this thread."""
    found = row("SELECT pg_backend_pid() AS pid")
    assert found is not None
    pid: int = found["pid"]
    return pid


def waits(pid: int) -> bool:
    """Whether a process of PostgreSQL waits for a lock that another one holds."""
    found = row("SELECT cardinality(pg_blocking_pids(%(pid)s)) > 0 AS waits", pid=pid)
    return found is not None and bool(found["waits"])
