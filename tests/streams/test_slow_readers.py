"""A reader that does not take its stream is dropped, at nobody else's cost, and comes back by its cursor."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chat.api.stream import _send_stream
from chat.streams.hub import PIECE_BYTES, find_stream
from chat.testing.client import Client, said
from chat.testing.invariants import assert_invariants

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
PATIENCE = 0.3


@pytest.fixture(autouse=True)
def impatient(settings: Any) -> None:
    settings.CHAT_SLOW_READER_SECONDS = PATIENCE


def last_cursor(received: bytes) -> str:
    return received.rpartition(b"id: ")[2].partition(b"\n")[0].decode()


async def test_a_reader_that_does_not_read_is_dropped_and_resumes_with_what_it_missed(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="chat")
    async with client.stream("POST", "/api/chat", said("t1", "/tokens 40 20")) as other:
        async with client.stream("GET", "/api/chat/t1/stream", takes=4) as stuck:
            received = await asyncio.wait_for(stuck.body(), 5)
        whole = await other.body()
    assert received
    assert received != whole
    assert whole.startswith(received)
    rest = await client.request("GET", f"/api/chat/t1/stream?after={last_cursor(received)}")
    assert received + rest.body == whole

    told = [record for record in caplog.records if "did not read" in record.getMessage()]
    assert [record.levelname for record in told] == ["INFO"]
    assert "w1" not in caplog.text
    await sync_to_async(assert_invariants)()


async def test_a_reader_that_does_not_read_is_dropped_also_while_nothing_is_said(client: Client, settings: Any) -> None:
    settings.CHAT_KEEP_ALIVE_SECONDS = 0.1
    async with client.stream("POST", "/api/chat", said("t1", "/hang")) as other:
        await other.until("text-delta")
        async with client.stream("GET", "/api/chat/t1/stream", takes=1) as stuck:  # the next piece is a keep-alive
            received = await asyncio.wait_for(stuck.body(), 5)
        assert received.endswith(b"\n\n")
        assert b"Hanging" in received
        await client.request("POST", "/api/chat/t1/stop")
        assert (await asyncio.wait_for(other.body(), 5)).endswith(b"data: [DONE]\n\n")


async def test_a_reader_that_does_not_take_the_very_end_is_dropped_as_soon(client: Client) -> None:
    chunks = (await client.send("t1", "/tokens 3 0")).chunks()
    path = f"/api/turns/{chunks[1]['data']['turn']}/stream"
    async with client.stream("GET", path) as whole:
        pieces = [piece async for piece in whole.pieces()]
    async with client.stream("GET", path, takes=len(pieces)) as stuck:
        assert await asyncio.wait_for(stuck.body(), 5) == b"".join(pieces)


async def test_a_reader_that_waits_longer_than_that_for_news_is_not_dropped(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", f"/tokens 3 {PATIENCE * 2000:.0f}")) as stream:
        assert (await asyncio.wait_for(stream.body(), 5)).endswith(b"data: [DONE]\n\n")


async def test_what_a_dropped_reader_had_before_it_is_let_go_with_the_turn(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/tokens 400 0")) as other:
        first = await anext(other.events())
        assert first.cursor
        turn = int(first.cursor.partition("-")[0])
        held = find_stream(turn)
        assert held
        frames = weakref.ref(held)
        del held
        async with client.stream("GET", f"/api/turns/{turn}/stream", takes=1) as stuck:
            await asyncio.wait_for(stuck.body(), 5)
        await other.body()
    async with asyncio.timeout(5):  # the tests' turns linger for half a second
        while frames() is not None:
            await asyncio.sleep(0.05)
            gc.collect()
    assert find_stream(turn) is None


async def over(line: Any, frames: list[bytes | float]) -> None:
    """Send these frames, with pauses of so many seconds, to a client that stays, over a line that does what ``line``
    does.
    """

    async def told() -> AsyncIterator[bytes]:
        for one in frames:
            if isinstance(one, bytes):
                yield one
            else:
                await asyncio.sleep(one)

    await _send_stream(told(), asyncio.Event().wait, line)  # type: ignore[arg-type]


async def test_a_large_frame_takes_a_slow_line_its_time_and_comes_whole() -> None:
    frame = bytes(range(256)) * 2560
    received: list[bytes] = []

    async def slow(message: dict[str, Any]) -> None:
        body = message.get("body", b"")
        await asyncio.sleep(PATIENCE / 10 * len(body) / PIECE_BYTES)
        received.append(body)

    await over(slow, [frame, b"small"])
    assert b"".join(received) == frame + b"small"
    assert len(received) > PATIENCE / 0.03


async def test_silence_is_broken_in_time_whenever_the_last_word_came(settings: Any) -> None:
    settings.CHAT_KEEP_ALIVE_SECONDS, settings.CHAT_SLOW_READER_SECONDS = 1.0, 30.0
    heard: list[float] = []

    async def line(message: dict[str, Any]) -> None:
        heard.append(asyncio.get_running_loop().time())

    with suppress(TimeoutError):
        async with asyncio.timeout(1.9):
            await over(line, [b"word", 0.2, b"word", 9.0])
    second, comment = heard[2:4]
    assert 0.9 < comment - second < 1.6
