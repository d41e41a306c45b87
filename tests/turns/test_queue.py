"""``on_busy: enqueue``: a turn that waits for another one."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from asgiref.sync import sync_to_async
from django.db.models.functions import Now

from chat.models import Message, Thread, Turn
from chat.store import queue
from chat.store.begin import NewUserMessage, begin_turn
from chat.store.queue import enqueue_turn, waiting_threads
from chat.store.scope import Scope
from chat.store.threads import open_thread
from chat.testing.client import Client, Response, said
from chat.testing.invariants import assert_invariants
from chat.turns.heartbeat import stop_heartbeat
from chat.turns.runner import move_on, next_turn
from tests.folded import assert_shown_is_stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def queued(client: Client, number: int) -> list[dict[str, object]]:
    """The queue of thread t1, once it is ``number`` long."""
    while True:
        state = (await client.request("GET", "/api/threads/t1/state/")).json()
        if len(state["queued"]) == number:
            found: list[dict[str, object]] = state["queued"]
            return found
        await asyncio.sleep(0.01)


def wait_behind(client: Client, message_id: str, text: str = "/tokens 2 0") -> asyncio.Task[Response]:
    return asyncio.create_task(client.send("t1", text, message_id, on_busy="enqueue"))


async def test_queued_turns_run_in_their_order_each_with_the_history_of_its_moment(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/tokens 2000 5", "m1")) as first:
        await first.until("text-delta")
        second = wait_behind(client, "m2")
        await queued(client, 1)
        third = wait_behind(client, "m3")
        waiting = await queued(client, 2)
        assert [turn["turn_id"] for turn in waiting] == ["m2", "m3"]
        assert waiting[0]["status"] == "queued"
        assert waiting[0]["message"] == {"parts": [{"type": "text", "text": "/tokens 2 0"}], "client_id": "m2"}
        assert await Message.objects.acount() == 2, "its rows are written when it is its time"
        await client.request("POST", "/api/chat/t1/stop")
    for answer in (await second, await third):
        turn = await assert_shown_is_stored(answer.chunks())
        assert turn.status == "completed"
    order = [message.turn_id async for message in Message.objects.order_by("id")]
    assert order == ["m1", "m1", "m2", "m2", "m3", "m3"]
    assert await queued(client, 0) == []
    await sync_to_async(assert_invariants)()


async def test_a_retry_of_a_queued_send_waits_for_the_same_turn(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as first:
        await first.until("text-delta")
        once, again = wait_behind(client, "m2"), wait_behind(client, "m2")
        await queued(client, 1)
        other = await client.send("t1", "something else", "m2", on_busy="enqueue")
        assert (other.status, other.json()["error"]["code"]) == (409, "turn_conflict")
        await client.request("POST", "/api/chat/t1/stop")
    assert (await once).body == (await again).body
    assert await Turn.objects.acount() == 2


async def test_a_queued_turn_can_be_cancelled_and_its_reader_comes_to_an_end(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as first:
        await first.until("text-delta")
        waiting = wait_behind(client, "m2")
        [turn] = await queued(client, 1)
        path = f"/api/turns/{turn['turn']}"
        stopped = await client.request("POST", f"{path}/stop")
        assert (stopped.status, stopped.json()["status"]) == (200, "stopped")
        chunks = (await waiting).chunks()
        assert [chunk["type"] for chunk in chunks] == ["start", "data-turn", "message-metadata", "abort"]
        assert (await client.request("GET", f"{path}/stream")).chunks() == chunks
        again = await client.request("POST", f"{path}/stop")
        assert (again.status, again.json()["status"]) == (200, "idle")
        live = await client.request("POST", f"/api/turns/{(await Turn.objects.aget(turn_id='m1')).pk}/stop")
        assert (live.status, live.json()["status"]) == (202, "stopping")
    assert (await Turn.objects.aget(turn_id="m2")).status == "stopped"
    assert await Message.objects.acount() == 2
    await sync_to_async(assert_invariants)()


async def test_what_waits_in_a_deleted_thread_runs_when_it_is_restored_and_not_before(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as first:
        await first.until("text-delta")
        behind = [wait_behind(client, "m2")]
        await queued(client, 1)
        behind.append(wait_behind(client, "m3"))
        [one, two] = await queued(client, 2)
        assert (await client.request("DELETE", "/api/threads/t1/")).status == 204
        await first.until("abort")
    assert await sync_to_async(waiting_threads)() == []
    assert await sync_to_async(next_turn)((await Thread.objects.aget()).pk) is None
    assert {turn.status async for turn in Turn.objects.filter(turn_id__in=["m2", "m3"])} == {"queued"}
    assert (await client.request("POST", "/api/threads/t1/restore/")).status == 200
    assert await queued(client, 2) == [one, two]
    move_on(waiting_threads)
    for answer in await asyncio.gather(*behind):
        assert (await assert_shown_is_stored(answer.chunks())).status == "completed"
    order = [message.turn_id async for message in Message.objects.order_by("id")]
    assert order == ["m1", "m1", "m2", "m2", "m3", "m3"]
    await sync_to_async(assert_invariants)()


async def test_what_waits_in_a_deleted_thread_goes_with_it(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as first:
        await first.until("text-delta")
        waiting = wait_behind(client, "m2")
        await queued(client, 1)
        await client.request("DELETE", "/api/threads/t1/")
        await first.until("abort")
    assert (await client.request("POST", "/api/threads/t1/purge/")).status == 204
    assert not await Turn.objects.aexists()
    waiting.cancel()


async def test_no_client_can_write_the_answer_of_a_turn_that_waits(client: Client) -> None:
    """It has no shell yet: the answer would stand before its question."""
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as first:
        await first.until("text-delta")
        second = wait_behind(client, "m2")
        await queued(client, 1)
        body = {"role": "assistant", "turn_id": "m2", "content": "Me first."}
        appended = await client.request("POST", "/api/threads/t1/messages/", body)
        assert (appended.status, appended.json()["error"]["code"]) == (404, "turn_not_found")
        await client.request("POST", "/api/chat/t1/stop")
    await assert_shown_is_stored((await second).chunks())
    await sync_to_async(assert_invariants)()


async def test_another_users_queued_turn_cannot_be_stopped(client: Client, other_client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as first:
        await first.until("text-delta")
        waiting = wait_behind(client, "m2")
        [turn] = await queued(client, 1)
        refused = await other_client.request("POST", f"/api/turns/{turn['turn']}/stop")
        assert (refused.status, refused.json()["error"]["code"]) == (404, "turn_not_found")
        await client.request("POST", "/api/chat/t1/stop")
    assert (await waiting).chunks()[-1]["type"] == "finish"


async def test_a_full_queue_refuses_and_writes_nothing(client: Client, settings: object) -> None:
    settings.CHAT_MAX_QUEUED_TURNS = 1  # type: ignore[attr-defined]
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as first:
        await first.until("text-delta")
        waiting = wait_behind(client, "m2")
        await queued(client, 1)
        refused = await client.send("t1", "Hello", "m3", on_busy="enqueue")
        assert (refused.status, refused.json()["error"]["code"]) == (409, "queue_full")
        assert await Turn.objects.acount() == 2
        await client.request("POST", "/api/chat/t1/stop")
    await waiting


async def test_a_queue_whose_promoter_died_is_moved_on_by_a_sweeper(
    client: Client, asker: Scope, settings: object
) -> None:
    def left_behind() -> None:
        thread = open_thread(asker, "t1")
        new = NewUserMessage([{"type": "text", "text": "/tokens 2 0"}], "m2")
        begin_turn(asker, thread, "m1", fingerprint="", request={}, user_message=new)
        assert enqueue_turn(asker, thread, "m2", fingerprint="", request={}, user_message=new, most=5)
        Turn.objects.filter(turn_id="m1").update(status="stopped")
        assert queue.waiting_threads() == [thread]

    stop_heartbeat()
    settings.CHAT_LEASE_SECONDS = 0.3  # type: ignore[attr-defined]
    await sync_to_async(left_behind)()
    await client.request("GET", "/api/chat/t1/stream")  # any request: the process has a pulse again
    turn = await Turn.objects.aget(turn_id="m2")
    while turn.status != "completed":
        await asyncio.sleep(0.05)
        await turn.arefresh_from_db()


async def test_nothing_is_left_waiting_when_the_busy_turn_ends_at_the_same_instant(client: Client) -> None:
    for number in range(10):
        tasks = [
            asyncio.create_task(client.send("t1", "/tokens 1 0", f"m{number}-{place}", on_busy="enqueue"))
            for place in range(3)
        ]
        answers = await asyncio.gather(*tasks)
        assert {answer.chunks()[-1]["type"] for answer in answers} == {"finish"}
    await sync_to_async(assert_invariants)()


async def test_who_stops_a_turn_is_heard_before_those_that_wait(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as first:
        await first.until("text-delta")
        waiting = wait_behind(client, "m2")
        await queued(client, 1)
        stopping = await client.send("t1", "/tokens 1 0", "m3", on_busy="stop")
        await assert_shown_is_stored(stopping.chunks())
        await assert_shown_is_stored((await waiting).chunks())
    order = [message.turn_id async for message in Message.objects.filter(role="user").order_by("id")]
    assert order == ["m1", "m3", "m2"]
    assert [turn.status async for turn in Turn.objects.order_by("id")] == ["stopped", "completed", "completed"]


async def test_nobody_overtakes_a_queue_that_waits_for_its_promotion(client: Client, asker: Scope) -> None:
    def left_behind() -> None:
        thread = open_thread(asker, "t1")
        new = NewUserMessage([{"type": "text", "text": "/tokens 2 0"}], "m2")
        begin_turn(asker, thread, "m1", fingerprint="", request={}, user_message=new)
        assert enqueue_turn(asker, thread, "m2", fingerprint="", request={}, user_message=new, most=5)
        Turn.objects.filter(turn_id="m1").update(status="stopped", finished_at=Now())

    await sync_to_async(left_behind)()
    refused = await client.send("t1", "/tokens 1 0", "m3")
    assert (refused.status, refused.json()["error"]["status"]) == (409, "queued")
    third = await client.send("t1", "/tokens 1 0", "m3", on_busy="enqueue")
    await assert_shown_is_stored(third.chunks())
    order = [message.turn_id async for message in Message.objects.filter(role="user").order_by("id")]
    assert order == ["m1", "m2", "m3"]


async def test_one_thread_that_cannot_go_on_keeps_no_other_from_it(
    client: Client, asker: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    def left_behind() -> list[uuid.UUID]:
        threads = [open_thread(asker, f"t{number}") for number in range(3)]
        new = NewUserMessage([{"type": "text", "text": "/tokens 2 0"}], "m2")
        for thread in threads:
            begin_turn(asker, thread, "m1", fingerprint="", request={}, user_message=new)
            assert enqueue_turn(asker, thread, "m2", fingerprint="", request={}, user_message=new, most=5)
        Turn.objects.filter(turn_id="m1").update(status="stopped")
        Turn.objects.filter(turn_id="m2", thread=threads[1]).update(
            request={"message": {"parts": [], "client_id": "x" * 500}}
        )
        return threads

    threads = await sync_to_async(left_behind)()
    move_on(lambda: threads)
    answers = [await client.send(f"t{number}", "/tokens 2 0", "m4", on_busy="enqueue") for number in (0, 2)]
    assert [answer.chunks()[-1]["type"] for answer in answers] == ["finish", "finish"]
    assert [turn.status async for turn in Turn.objects.filter(turn_id="m2").order_by("thread__client_id")] == [
        "completed",
        "queued",
        "completed",
    ]
