"""Races of store functions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import close_old_connections

from chat.errors import ChatError

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
