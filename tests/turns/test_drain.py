"""The end of a process: nothing that was begun is left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chat.models import Turn
from chat.store.queue import waiting_threads
from chat.streams.hub import find_stream
from chat.testing.client import Client
from chat.testing.held import held_at
from chat.turns import heartbeat, run, worker
from chat.turns.process import end_process
from chat.turns.runner import move_on
from tests.folded import assert_log_is_stored, assert_shown_is_stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


@pytest.mark.in_process  # what was begun waits for another worker
@pytest.mark.parametrize("point", ["begin:before", "begin:after"])
async def test_a_turn_that_is_just_being_begun_is_ended_by_the_drain(client: Client, point: str) -> None:
    with held_at(point) as (reached, released):
        send = asyncio.create_task(client.send("t1", "/hang", "m1"))
        await asyncio.to_thread(reached.wait)
        end = asyncio.create_task(end_process())
        await asyncio.sleep(0.1)
        assert not end.done()
        released.set()
        await send
        await end
    turn = await Turn.objects.aget()
    assert turn.status == "interrupted"
    await assert_log_is_stored(turn.pk)


async def test_a_process_that_has_ended_answers_no_later_turn_with_what_it_kept_of_one(client: Client) -> None:
    """The numbers of turns begin anew where the tables are made anew."""
    await client.send("t1", "/tokens 1 0", "m1")
    (turn,) = [one.pk async for one in Turn.objects.all()]
    await end_process()
    assert find_stream(turn) is None


async def test_a_send_that_waits_for_a_stop_begins_nothing_in_a_process_that_ends(
    client: Client, settings: Any
) -> None:
    settings.CHAT_DRAIN_SECONDS = 0.2
    settings.CHAT_AGENT = "tests.turns.agents.Stubborn"  # which takes a second to be stopped
    first = asyncio.create_task(client.send("t1", "Hello", "m1"))
    while not run.live_turns():
        await asyncio.sleep(0.01)
    second = asyncio.create_task(client.send("t1", "Hello", "m2", on_busy="stop"))
    while not await Turn.objects.filter(stop_requested_at__isnull=False).aexists():
        await asyncio.sleep(0.01)
    await end_process()
    assert run.live_turns() == []
    assert (await second).status == 503
    await first
    assert await Turn.objects.acount() == 1


@pytest.mark.in_process  # it is begun, and waits for another worker
async def test_a_queued_turn_is_left_to_other_processes(client: Client) -> None:
    first = asyncio.create_task(client.send("t1", "/hang", "m1"))
    while not await Turn.objects.filter(turn_id="m1").aexists():
        await asyncio.sleep(0.01)
    second = asyncio.create_task(client.send("t1", "/tokens 1 0", "m2", on_busy="enqueue"))
    while not await Turn.objects.filter(turn_id="m2").aexists():
        await asyncio.sleep(0.01)
    await end_process()
    await assert_shown_is_stored((await first).chunks())
    assert [turn.status async for turn in Turn.objects.order_by("id")] == ["interrupted", "queued"]
    assert (await client.send("t2", "Hello")).json()["error"]["code"] == "server_full"
    run.accept_turns_again()  # "another process"
    await client.request("GET", "/api/chat/t1/stream")
    move_on(waiting_threads)
    assert (await second).chunks()[-1]["type"] == "finish"


@pytest.mark.in_process  # a worker of its own
async def test_a_worker_that_is_told_to_end_while_it_can_fetch_no_jobs_ends_its_turns(
    client: Client, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHAT_DRAIN_SECONDS = 0
    live = asyncio.create_task(client.send("t1", "/hang", "m1"))
    while not run.live_turns():
        await asyncio.sleep(0.01)
    settings.CHAT_LISTEN_URL = "no_such_option=1"
    told = asyncio.Event()
    working = asyncio.create_task(worker.work(2, told))
    while "no jobs can be fetched" not in caplog.text:
        await asyncio.sleep(0.01)
    assert heartbeat.also == [], "what waits for a job is not kept alive by who fetches none"
    told.set()
    await working
    await live
    turn = await Turn.objects.aget()
    assert turn.status == "interrupted"
    await assert_log_is_stored(turn.pk)
