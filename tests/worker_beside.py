"""A worker on the test's own event loop: jobs, claims and runs are real, and a test's agents and kill points hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asgiref.sync import sync_to_async

from chat.store.sql import rows
from chat.streams import hub


@asynccontextmanager
async def worker_beside() -> AsyncIterator[None]:
    from chat.turns import worker

    worker.POLL_SECONDS = 0.1  # what was sent before it listens
    # A test of the migrations makes the tables anew, and turns get the numbers of others, whose streams are kept for a
    # while that ends with their test's event loop. A reader looks there before the worker does.
    hub._streams.clear()
    await sync_to_async(rows)("DELETE FROM procrastinate_jobs")
    told_to_end = asyncio.Event()
    working = asyncio.create_task(worker.work(200, told_to_end))
    yield
    told_to_end.set()
    await working
