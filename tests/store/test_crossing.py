"""The threads in which async code uses the database keep nothing of what they did."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import OperationalError

from chat.store.crossing import DedicatedThread, in_thread, in_thread_with_patience
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


async def test_a_thread_of_its_own_is_one_and_has_another_connection_after_one_that_broke() -> None:
    def session() -> int:
        pid: int = rows("SELECT pg_backend_pid() AS pid, pg_sleep(0.01)")[0]["pid"]
        return pid

    thread = DedicatedThread("test")
    (before,) = set(await asyncio.gather(*(thread.call(session) for _ in range(4))))
    with pytest.raises(OperationalError):
        await thread.call(rows, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert await thread.call(session) != before
    await thread.close()


async def test_a_database_that_is_away_is_asked_again_until_patience_ends(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        if len(asked) < 3:
            raise OperationalError("it is away")
        return len(asked)

    settings.CHAT_DATABASE_PATIENCE_SECONDS = 0
    with pytest.raises(OperationalError, match="it is away"):
        await in_thread_with_patience(ask)
    settings.CHAT_DATABASE_PATIENCE_SECONDS = 30
    assert await in_thread_with_patience(ask) == 3
    assert "asked again: OperationalError" in caplog.text
