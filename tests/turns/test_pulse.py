"""What a running process does by itself, besides answering."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from psycopg import AsyncConnection

from chat.models import StreamEvents, Thread, Turn
from chat.store.begin import NewUserMessage, begin_turn
from chat.store.scope import Scope
from chat.store.sql import listen_parameters, rows
from chat.store.threads import open_thread
from chat.streams import hub
from chat.testing.client import Client, said
from chat.testing.held import held_at
from chat.turns import heartbeat, run
from chat.turns.heartbeat import start_heartbeat, stop_heartbeat
from tests.factories import TurnFactory
from tests.folded import assert_log_is_stored, assert_shown_is_stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def test_a_running_server_prunes_the_logs_of_ended_turns(client: Client, settings: Any) -> None:
    stop_heartbeat()
    settings.CHAT_LEASE_SECONDS = 0.3
    settings.CHAT_LOG_RETENTION_SECONDS = 0.2
    settings.CHAT_STREAM_LINGER_SECONDS = 0.1
    first = await client.send("t1", "/tokens 3 0", "m1")
    while await StreamEvents.objects.aexists():
        await asyncio.sleep(0.05)
    pk = (await Turn.objects.aget()).pk
    await asyncio.sleep(0.2)
    replay = await client.request("GET", f"/api/turns/{pk}/stream")
    assert "id:" not in replay.body.decode(), "made anew from the parts"
    await assert_shown_is_stored(replay.chunks(), from_parts=True)
    gone = await client.request("GET", f"/api/turns/{pk}/stream?after={pk}-2")
    assert (gone.status, gone.json()["error"]["code"]) == (410, "cursor_gone")
    assert first.status == 200


async def test_leases_are_renewed_while_the_log_is_pruned_however_long_that_takes(
    client: Client, settings: Any
) -> None:
    stop_heartbeat()
    settings.CHAT_LEASE_SECONDS = 0.3
    settings.CHAT_LOG_RETENTION_SECONDS = 0.2
    await client.send("t1", "/tokens 3 0", "m1")
    async with await AsyncConnection.connect(**listen_parameters()) as line:
        await line.execute("SELECT FROM chat_stream_events FOR UPDATE")
        live = asyncio.create_task(client.send("t2", "/hang", "m2"))
        async with asyncio.timeout(10):
            while not (await Turn.objects.filter(turn_id="m2").aexists() and await sync_to_async(rows)(BLOCKED)):
                await asyncio.sleep(0.02)
        now, later = [await next_beat() for _ in range(2)]
        assert later > now
        await line.rollback()
    await client.request("POST", "/api/chat/t2/stop")
    await live


BLOCKED = """
SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%DELETE FROM chat_stream_events%%'
"""


async def next_beat() -> datetime:
    """The next heartbeat of the live turn, which must come soon."""
    turns = Turn.objects.filter(turn_id="m2")
    before = (await turns.aget()).heartbeat_at
    async with asyncio.timeout(5):
        while (now := (await turns.aget()).heartbeat_at) == before:
            await asyncio.sleep(0.02)
    assert now
    return now


async def test_the_pulse_of_a_loop_that_is_gone_beats_for_the_one_that_came_after(
    client: Client, settings: Any
) -> None:
    async def another() -> None:
        start_heartbeat()

    stop_heartbeat()
    settings.CHAT_LEASE_SECONDS = 0.3
    await asyncio.to_thread(asyncio.run, another())
    answer = asyncio.create_task(client.send("t1", "/hang", "m1"))
    while not await Turn.objects.filter(status="streaming").aexists():
        await asyncio.sleep(0.01)
    await Turn.objects.aupdate(stop_requested_at="2026-01-01T00:00Z")  # nobody is notified
    chunks = (await asyncio.wait_for(answer, 10)).chunks()
    assert chunks[-1] == {"type": "abort"}


async def test_a_heartbeat_that_fails_costs_no_lease_since_the_next_one_comes(
    client: Client, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OperationalError("server closed the connection")]

    def fail_once() -> None:
        if failures:
            raise failures.pop()

    stop_heartbeat()
    settings.CHAT_LEASE_SECONDS = 0.3
    live = asyncio.create_task(client.send("t2", "/hang", "m2"))
    while not await Turn.objects.filter(status="streaming").aexists():
        await asyncio.sleep(0.01)
    heartbeat.also.append(fail_once)
    try:
        while failures:
            await asyncio.sleep(0.02)
        await next_beat()
    finally:
        heartbeat.also.remove(fail_once)
    assert "a heartbeat failed: OperationalError" in caplog.text
    await client.request("POST", "/api/chat/t2/stop")
    await live


@pytest.mark.in_process  # a worker registers what it does at a beat
async def test_after_an_outage_others_get_a_beat_to_renew_their_leases_in(
    client: Client, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    beats: list[tuple[str, bool]] = []

    def away() -> None:
        if away in failing:
            raise OperationalError("server closed the connection")
        beats.append((Turn.objects.get().status, run.leases_may_be_late()))

    failing = [away]
    stop_heartbeat()
    settings.CHAT_LEASE_SECONDS = 0.6
    heartbeat.also.append(away)
    try:
        await client.request("GET", "/api/chat/t1/stream")  # any request: the process has a pulse again
        while caplog.text.count("a heartbeat failed") < 8:  # more than a second
            await asyncio.sleep(0.02)
        theirs = {"status": "streaming", "owner": "other", "heartbeat_at": "2026-01-01T00:00Z"}
        turn = await sync_to_async(TurnFactory.create)(**theirs)
        assert not await sync_to_async(run.ended_as_gone)(turn.pk), "by a send, either"
        failing.clear()
        while ("interrupted", False) not in beats:
            await asyncio.sleep(0.02)
    finally:
        heartbeat.also.remove(away)
    assert beats == [("streaming", True), ("interrupted", False)]


async def test_the_turns_of_a_loop_that_is_blocked_for_good_are_not_kept_alive(
    client: Client, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def blocked() -> str:
        """Until somebody has ended the turn."""
        deadline = time.monotonic() + 10
        while (status := Turn.objects.get().status) == "streaming" and time.monotonic() < deadline:
            time.sleep(0.05)
        return status

    stop_heartbeat()
    settings.CHAT_LEASE_SECONDS, settings.CHAT_STALL_SECONDS = 0.6, 0.6
    async with client.stream("POST", "/api/chat", said("t1", "/tokens 2000 20", "m1")) as stream:
        await stream.until("text-delta")
        with ThreadPoolExecutor() as pool:
            assert pool.submit(blocked).result() == "interrupted"
        await stream.until("abort")
    assert "the event loop does nothing" in caplog.text
    await assert_log_is_stored((await Turn.objects.aget()).pk)


async def test_a_pruning_that_fails_is_followed_by_the_next(
    client: Client, settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_heartbeat()
    monkeypatch.setattr(heartbeat, "PRUNE_SECONDS", 0.1)
    monkeypatch.setattr(heartbeat, "LEAST_SECONDS", 0.1)
    settings.CHAT_LOG_RETENTION_SECONDS = 1e300  # longer than any interval of PostgreSQL's
    await client.send("t1", "/tokens 3 0", "m1")
    while "the log could not be pruned: DataError" not in caplog.text:
        await asyncio.sleep(0.02)
    settings.CHAT_LOG_RETENTION_SECONDS = 0
    while await StreamEvents.objects.aexists():
        await asyncio.sleep(0.02)


def test_a_server_that_keeps_no_log_of_what_has_ended_does_not_look_for_it_without_a_pause(settings: Any) -> None:
    settings.CHAT_LOG_RETENTION_SECONDS = 0
    assert heartbeat._until_next_pruning() > 0.2


async def test_the_live_turn_of_a_deleted_thread_is_stopped(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as stream:
        await stream.until("text-delta")
        assert (await client.request("DELETE", "/api/threads/t1/")).status == 204
        await stream.body()
    turn = await Turn.objects.aget()
    assert turn.status == "stopped"
    await assert_log_is_stored(turn.pk)
    assert (await Thread.objects.aget()).deleted_at


async def test_two_readers_of_a_pruned_turn_at_once_both_get_the_replay(client: Client) -> None:
    await client.send("t1", "/tokens 3 0", "m1")
    pk = (await Turn.objects.aget()).pk
    hub._streams.clear()
    await StreamEvents.objects.all().adelete()
    path = f"/api/turns/{pk}/stream"
    replays = await asyncio.gather(*(client.request("GET", path) for _ in range(5)))
    for replay in replays:
        await assert_shown_is_stored(replay.chunks(), from_parts=True)
    hub._streams.clear()
    gone = await asyncio.gather(*(client.request("GET", f"{path}?after={pk}-2") for _ in range(5)))
    assert {answer.status for answer in gone} == {410}


async def test_a_stop_that_comes_before_the_run_is_not_lost(client: Client) -> None:
    with held_at("begin:after") as (reached, released):
        send = asyncio.create_task(client.send("t1", "/hang", "m1"))
        await asyncio.to_thread(reached.wait)
        await client.request("POST", "/api/chat/t1/stop")
        await asyncio.sleep(0.1)
        released.set()
        chunks = (await asyncio.wait_for(send, 3)).chunks()
    turn = await assert_shown_is_stored(chunks)
    assert turn.status == "stopped"


async def test_one_process_recovers_all_turns_of_a_dead_one_in_one_beat(
    client: Client, asker: Scope, settings: Any
) -> None:
    def left_behind() -> None:
        for number in range(45):
            begin_turn(
                asker,
                open_thread(asker, f"t{number}"),
                "m1",
                fingerprint="",
                request={},
                user_message=NewUserMessage([{"type": "text", "text": "Hello"}]),
            )
        Turn.objects.update(heartbeat_at="2026-01-01T00:00Z")

    stop_heartbeat()
    settings.CHAT_LEASE_SECONDS = 6
    await sync_to_async(left_behind)()
    await client.request("GET", "/api/chat/t1/stream")  # any request: the process has a pulse again
    begun = time.monotonic()
    while await Turn.objects.filter(status="streaming").aexists():
        await asyncio.sleep(0.05)
    assert time.monotonic() - begun < 4, "the second beat would come after four seconds"
