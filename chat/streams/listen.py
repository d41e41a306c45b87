"""The one connection of a process on which PostgreSQL tells of other processes' commits and requests.

A wake-up, not a carrier: a payload names turns, what is new in them is read from the log. So a lost notification
costs time, never a chunk: after every (re)connect, and every ``CHAT_LISTEN_CHECK_SECONDS`` in any case, all followed
streams are read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, sql

from chat import conf
from chat.store.crossing import in_thread
from chat.store.sql import drop_broken_connections, listen_parameters
from chat.store.stream_log import CHANNEL, STOP_CHANNEL
from chat.store.turns import THREAD_CHANNEL
from chat.streams import hub, threads
from chat.streams.writer import process_name
from chat.telemetry import event, measure

logger = logging.getLogger(__name__)
PAUSE, LONGEST_PAUSE = 0.1, 5.0

_task: asyncio.Task[None] | None = None
_loop: asyncio.AbstractEventLoop | None = None
# What requests to stop a turn are told to; the turns, which stand above, register here.
stop_handlers: list[Callable[[int], None]] = []


def listen() -> None:
    """See to it that this process listens, on the running loop."""
    global _task, _loop
    loop = asyncio.get_running_loop()
    if _task is None or _task.done() or _loop is not loop:
        _loop = loop
        _task = loop.create_task(_listen(), name="chat listen")


async def hush() -> None:
    """Stop to listen, for a process that ends."""
    global _task
    task, _task = _task, None
    if task is not None and _loop is asyncio.get_running_loop():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _listen() -> None:
    pause = PAUSE
    while True:
        try:
            async with await AsyncConnection.connect(**listen_parameters(), autocommit=True) as connection:
                for channel in (CHANNEL, STOP_CHANNEL, THREAD_CHANNEL):
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                pause = PAUSE
                await _safely(_read_all())
                while True:
                    async for notification in connection.notifies(timeout=conf.get("LISTEN_CHECK_SECONDS")):
                        await _safely(_heard(notification.channel, notification.payload))
                    await connection.execute("SELECT 1")  # is anybody there?
                    await _safely(_read_all())
        except psycopg.Error as problem:  # also of a server that is a standby now, and takes no LISTEN
            name = type(problem).__name__
            logger.warning("the listening connection broke: %s", name, extra=event("listening_broke", problem=name))
            measure("chat_listening_broken_total")
            await _safely(in_thread(drop_broken_connections))  # the others broke with it
            await _safely(_read_all())  # they may be at another server, which answers
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


async def _heard(channel: str, payload: str) -> None:
    if channel == THREAD_CHANNEL:
        thread, _, message = payload.partition(" ")
        if message:
            threads.tell_restored(UUID(thread), int(message))
        else:
            await threads.refresh([UUID(thread)])
        return
    process, _, turns = payload.partition(" ")
    if channel == STOP_CHANNEL:
        for handler in stop_handlers:
            handler(int(turns))
    elif process != process_name():
        await hub.refresh([int(turn) for turn in turns.split(",")])


async def _read_all() -> None:
    await hub.refresh()
    await threads.refresh()


async def _safely(work: Awaitable[None]) -> None:
    try:
        await work
    except Exception as problem:  # the next wake-up reads the same again
        name = type(problem).__name__
        logger.warning("followed streams could not be read: %s", name, extra=event("streams_unread", problem=name))
