"""The one place where async code crosses into a thread to use the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from typing import ParamSpec, TypeVar, cast

from django.db import close_old_connections, reset_queries
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from chat import conf
from chat.store.sql import UNAVAILABLE, connection, drop_broken_connections
from chat.telemetry import event

logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


@cache
def executor() -> ThreadPoolExecutor:
    """The threads of ``CHAT_DB_THREADS``. Not asgiref's: its one thread a request dies with the request, leaking
    the connection of a run that outlives it (measured: 40 runs, 40 connections), and its shared one is a queue.
    """
    return ThreadPoolExecutor(conf.get("DB_THREADS"), thread_name_prefix="chat-store")


def _tidily(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return function(*args, **kwargs)
    except UNAVAILABLE:
        drop_broken_connections()
        raise
    finally:
        reset_queries()  # with DEBUG, Django keeps a connection's last 9,000 statements with all their values


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a store function in a thread and give its connection back afterwards.

    Cancelling the await does not stop the function: what it wrote stays written.
    """

    def call() -> T:
        close_old_connections()
        try:
            return _tidily(function, *args, **kwargs)
        finally:
            close_old_connections()

    # With the caller's context, by which a trace knows what the work belongs to.
    return await asyncio.get_running_loop().run_in_executor(executor(), copy_context().run, call)


async def in_thread_with_patience(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """``in_thread``, again and again while the database is away, for CHAT_DATABASE_PATIENCE_SECONDS."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(UNAVAILABLE),
        stop=stop_after_delay(conf.get("DATABASE_PATIENCE_SECONDS")),
        wait=wait_exponential_jitter(multiplier=0.1, max=5),
        before_sleep=_tell,
        reraise=True,
    )
    return await retrying(in_thread, function, *args, **kwargs)


def _tell(state: RetryCallState) -> None:
    name = type(state.outcome and state.outcome.exception()).__name__
    logger.warning("the database is away, and asked again: %s", name, extra=event("database_awaited", problem=name))


async def stepwise(steps: Iterator[T]) -> AsyncIterator[T]:
    """What an iterator gives that uses the database, each step of it ``in_thread``: between two of them, which may be
    long where a client is slow, it holds neither thread nor connection.
    """
    end = object()
    while (step := await in_thread(next, steps, end)) is not end:
        yield cast(T, step)


class DedicatedThread:
    """One thread that keeps its connection open, for work that comes many times a second."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a store function there. After an error of the connection the next call gets a new one."""

        call = partial(_tidily, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    async def close(self) -> None:
        """Give the connection back; the next call opens one again."""
        await self.call(lambda: connection().close())
