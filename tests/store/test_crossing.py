"""The threads in which async code uses the database keep nothing of what they did."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chat.store.crossing import DedicatedThread, in_thread
from chat.store.sql import connection, rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


def kept() -> int:
    """How many earlier statements the connection of this thread still holds, before it makes one more."""
    before = len(connection().queries_log)
    rows("SELECT %(text)s", text="a whole answer")
    return before


async def test_no_thread_keeps_the_statements_that_django_keeps_with_debug(settings: Any) -> None:
    settings.DEBUG = True
    for _ in range(3):
        assert set(await asyncio.gather(*(in_thread(kept) for _ in range(32)))) == {0}
    thread = DedicatedThread("test")
    assert [await thread.call(kept) for _ in range(3)] == [0, 0, 0]
    await thread.close()
