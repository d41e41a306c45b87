"""When a chunk is durable, when it is shown, and what becomes of both when the database goes away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from chat.errors import Unavailable
from chat.models import Turn
from chat.protocol import sse
from chat.store.scope import Scope
from chat.store.stream_log import read_log
from chat.streams.hub import open_stream
from chat.streams.writer import writer
from chat.testing.client import Client, Stream, said
from chat.testing.invariants import assert_invariants
from chat.turns.recover import recover_expired
from tests.folded import assert_shown_is_stored
from tests.refusals import only_rows
from tests.streams.test_followed_streams import turn_elsewhere

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


@pytest.fixture
def reconnected(transactional_db: None) -> Iterator[None]:
    """The test's own connection is broken with the others; what cleans up after it needs a new one."""
    yield
    connection.close()


def kill_backends() -> int:
    """Break every connection to the test's database but this one, as a restart of PostgreSQL does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        killed: int = cursor.fetchone()[0]
        return killed


async def seen(stream: Stream, words: bytes) -> bytes:
    """The bytes of a stream up to and with these."""
    received = b""
    async for piece in stream.pieces():
        received += piece
        if words in received:
            return received
    raise AssertionError(f"never saw {words!r}")


async def test_no_reader_gets_a_chunk_before_the_commit_that_holds_it(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/tokens 60 3")) as stream:
        parser = sse.Parser()
        received = 0
        async for piece in stream.pieces():
            received += sum(event.chunk is not None for event in parser.feed(piece))
            turn = await Turn.objects.aget()
            assert len(await sync_to_async(read_log)(turn.pk)) >= received
    assert received > 60


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_in_every_mode_what_was_shown_is_what_is_stored_at_the_end(
    client: Client, settings: Any, durability: str
) -> None:
    settings.CHAT_DURABILITY = durability
    for command in ("/tool", "/fail 3", "/tokens 300 0"):
        await assert_shown_is_stored((await client.send("t1", command)).chunks())
    await sync_to_async(assert_invariants)()


async def test_exit_stores_nothing_of_a_live_turn(client: Client, settings: Any) -> None:
    settings.CHAT_DURABILITY = "exit"
    async with client.stream("POST", "/api/chat", said("t1", "/hang")) as stream:
        await seen(stream, b"Hanging")
        await asyncio.sleep(0.1)
        turn = await Turn.objects.aget()
        assert await sync_to_async(read_log)(turn.pk) == []
        await client.request("POST", "/api/chat/t1/stop")


async def test_async_commits_what_it_shows_within_the_gap(client: Client, settings: Any) -> None:
    settings.CHAT_DURABILITY = "async"
    async with client.stream("POST", "/api/chat", said("t1", "/hang")) as stream:
        await seen(stream, b"Hanging")
        await asyncio.sleep(0.5)  # many gaps, on a machine that may be busy
        turn = await Turn.objects.aget()
        assert b"Hanging" in b"".join(await sync_to_async(read_log)(turn.pk))
        await client.request("POST", "/api/chat/t1/stop")


@pytest.mark.usefixtures("reconnected")
async def test_a_turn_goes_on_when_the_database_drops_every_connection(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/tokens 200 5")) as stream:
        received = await seen(stream, b"w20 ")
        for words in (b"w60 ", b"w100 ", b"w140 "):
            assert await sync_to_async(kill_backends)()
            received += await seen(stream, words)
        received += await stream.body()
    events = sse.parse(received)
    turn = await assert_shown_is_stored([event.chunk for event in events if event.chunk])
    assert turn.status == "completed"
    await sync_to_async(assert_invariants)()


async def test_agents_wait_while_too_much_is_not_yet_committed(client: Client, settings: Any) -> None:
    settings.CHAT_PENDING_BYTES = 2_000
    settings.CHAT_COMMIT_GAP = settings.CHAT_SHORTEST_COMMIT_GAP = 0.2
    most = 0
    task = asyncio.create_task(client.send("t1", "/tokens 300 0"))
    while not task.done():
        most = max(most, writer()._bytes)
        await asyncio.sleep(0)
    await assert_shown_is_stored((await task).chunks())
    assert 0 < most < 4_000


async def test_nobody_waits_for_a_commit_while_little_is_left_to_commit(settings: Any) -> None:
    settings.CHAT_DURABILITY = "async"
    turn = open_stream(1)
    assert not writer().full
    writer().add(turn, 1, [])
    assert not writer()._pending, "there is nothing to commit"
    writer().add(turn, 1, [b"{}"])
    assert not writer().full
    settings.CHAT_PENDING_BYTES = 1
    assert writer().full
    await asyncio.wait_for(writer().room(), 5)
    assert await writer().take(1) == (2, [])


async def test_many_turns_share_their_commits(client: Client) -> None:
    results = await asyncio.gather(*(client.send(f"t{number}", "/tokens 40 5") for number in range(30)))
    for response in results:
        await assert_shown_is_stored(response.chunks())

    def rows() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(DISTINCT xmin::text) FROM chat_stream_events")
            count: int = cursor.fetchone()[0]
            return count

    commits = await sync_to_async(rows)()
    assert commits < 30 * 40 / 4
    await sync_to_async(assert_invariants)()


async def test_what_cannot_even_be_sent_costs_only_the_turn_whose_fault_it_is(
    asker: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only PostgreSQL may refuse a batch: putting it together may fail."""
    good, bad = await turn_elsewhere(asker), await turn_elsewhere(asker, "t2")
    told: list[tuple[str, int, int]] = []
    for name in ("on_lost", "on_refused"):
        monkeypatch.setattr(writer(), name, lambda *turn, name=name: told.append((name, *turn)))
    streams = {turn.pk: open_stream(turn.pk, [b'{"type":"start"}']) for turn in (good, bad)}
    writer().add(streams[bad.pk], bad.epoch, [b"\xff"])
    writer().add(streams[good.pk], good.epoch, [b'{"type":"start-step"}'])
    reading = streams[good.pk].read(1)
    (frame,) = await asyncio.wait_for(anext(reading), 5)
    assert b"start-step" in frame
    assert told == [("on_refused", bad.pk, bad.epoch)]
    writer().add(streams[bad.pk], bad.epoch, [b"{}"])
    assert not writer()._pending, "nothing is taken behind a gap"
    with pytest.raises(Unavailable):
        await asyncio.wait_for(writer().take(bad.pk), 5)
    assert await asyncio.wait_for(writer().take(good.pk), 5) == (3, [])
    assert writer()._bytes == 0


async def test_a_turn_of_whose_log_something_was_refused_ends_with_what_was_shown(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with only_rows("chat_stream_events", "strpos(chunks, 'w50 ') = 0"):
        reading = asyncio.create_task(client.send("t1", "/tokens 5000 1"))
        while "could not be stored (Unavailable)" not in caplog.text:
            await asyncio.sleep(0.01)
    await Turn.objects.aupdate(heartbeat_at="2026-01-01T00:00:00Z")
    await sync_to_async(recover_expired)()
    turn = await assert_shown_is_stored((await reading).chunks())
    assert turn.status == "interrupted"
    assert "taken over" not in caplog.text


async def test_a_turn_that_has_said_nothing_is_numbered_from_one() -> None:
    assert await writer().take(999_999) == (1, [])


async def test_the_gap_between_commits_grows_with_rows_and_readers(asker: Scope, settings: Any) -> None:
    settings.CHAT_SHORTEST_COMMIT_GAP, settings.CHAT_COMMIT_GAP = 0.0, 0.4
    turn = await turn_elsewhere(asker)
    stream = open_stream(turn.pk, [b'{"type":"start"}'])

    async def committed() -> float:
        """When a chunk is shown that is added now."""
        writer().add(stream, turn.epoch, [b'{"type":"x"}'])
        await asyncio.wait_for(anext(stream.read(stream.last_seq)), 10)
        return time.monotonic()

    first = await committed()
    while writer()._task:
        await asyncio.sleep(0)
    assert writer()._last_woken == 1, "the reader"
    writer().add(stream, turn.epoch, [b'{"type":"x"}'])
    while writer()._task:
        await asyncio.sleep(0)
    assert writer()._last_woken == 1, "without one it is the row"
    writer()._last_woken = 100_000  # what one commit of many turns leaves
    assert await committed() - first >= 0.35
