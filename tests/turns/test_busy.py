"""What becomes of a send while another turn is live, and of turns whose process is gone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import connection
from psycopg import AsyncConnection

from chat.models import Message, StreamEvents, Turn, TurnStatus
from chat.store.begin import NewUserMessage, begin_turn
from chat.store.scope import Scope
from chat.store.sql import listen_parameters
from chat.store.stream_log import STOP_CHANNEL, LogRow, append
from chat.store.threads import open_thread
from chat.store.turns import StoredTurn
from chat.testing.client import Client, said
from chat.testing.invariants import assert_invariants
from chat.turns.recover import recover_expired
from chat.turns.run import live_turns, start_run
from tests.folded import assert_log_is_stored, assert_shown_is_stored
from tests.refusals import only_rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def test_a_client_that_aborts_and_sends_the_next_message_stops_the_abandoned_turn(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/tokens 2000 5", "m1")) as stream:
        await stream.until("text-delta")
    body = said("t1", "/tokens 2 0", "m2")
    body["messages"] = [
        {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "/tokens 2000 5"}]},
        {"id": "x", "role": "assistant", "parts": [{"type": "text", "text": "w1 "}]},
        *body["messages"],
    ]
    second = await assert_shown_is_stored((await client.request("POST", "/api/chat", body)).chunks())
    first = await Turn.objects.aget(turn_id="m1")
    assert (first.status, second.status) == ("stopped", "completed")
    await assert_log_is_stored(first.pk)
    await sync_to_async(assert_invariants)()


@pytest.mark.parametrize(("on_busy", "status"), [("stop", 200), ("reject", 409), (None, 409)])
async def test_on_busy_decides(client: Client, on_busy: str | None, status: int) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as stream:
        await stream.until("text-delta")
        keys = {"on_busy": on_busy} if on_busy else {}
        second = await client.send("t1", "/tokens 2 0", "m2", **keys)
        assert second.status == status
    assert await Turn.objects.acount() == (2 if status == 200 else 1)


async def test_what_stands_as_an_id_in_the_history_sent_along_may_be_anything(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as stream:
        await stream.until("text-delta")
        body = said("t1", "/tokens 2 0", "m2")
        body["messages"] = [{"id": ["m1"]}, {"id": {}}, {"id": None}, *body["messages"]]
        refused = await client.request("POST", "/api/chat", body)
        assert (refused.status, refused.json()["error"]["code"]) == (409, "thread_busy")


async def test_an_answer_to_what_nobody_asked_is_busy_like_any_other(client: Client, settings: Any) -> None:
    """An imported conversation may begin with the assistant's words, of which another version is being made."""
    settings.CHAT_AGENT = "tests.turns.agents.Stalls"
    greeting = {"id": "1", "role": "assistant", "parts": [{"type": "text", "text": "Welcome!"}]}
    thread = {"id": "a", "client_id": "t1", "messages": [greeting]}
    await client.request("POST", "/api/import/", {"format": "durable-chat", "version": 1, "threads": [thread]})
    again = {"id": "t1", "messages": [], "trigger": "regenerate-message"}
    async with client.stream("POST", "/api/chat", again) as stream:
        await stream.until("text-delta")
        refused = await client.send("t1", "Hello", "m2")
        assert (refused.status, refused.json()["error"]["code"]) == (409, "thread_busy")


async def test_a_page_gets_all_it_needs_in_one_answer(client: Client) -> None:
    await client.send("t1", "/tokens 2 0", "m0")
    async with client.stream("POST", "/api/chat", said("t1", "/tokens 60 5", "m1")) as stream:
        await stream.until("text-delta")
        state = (await client.request("GET", "/api/threads/t1/state/")).json()
        assert [message["role"] for message in state["messages"]] == ["user", "assistant", "user"]
        turn = state["turn"]
        assert (turn["turn_id"], turn["status"], turn["cursor"]) == ("m1", "streaming", f"{turn['turn']}-0")
        joined = await client.request("GET", f"/api/chat/t1/stream?after={turn['cursor']}")
        await assert_shown_is_stored(joined.chunks())
    after = await client.request("GET", f"/api/chat/t1/stream?after={turn['cursor']}")
    assert after.body == joined.body, "the cursor is good also after the end"
    state = (await client.request("GET", "/api/threads/t1/state/")).json()
    assert (len(state["messages"]), state["turn"]) == (4, None)
    assert state["cursor"] == f"{turn['turn']}-{len(joined.chunks())}", "and behind an ended turn there is nothing"
    assert state["earlier"] is None


async def test_a_page_learns_where_earlier_messages_are(client: Client) -> None:
    for number in range(3):
        await client.send("t1", "/tokens 1 0", f"m{number}")
    state = (await client.request("GET", "/api/threads/t1/state/?limit=4")).json()
    earlier = (await client.request("GET", state["earlier"])).json()
    shown = [message["turn_id"] for message in earlier["results"] + state["messages"]]
    assert (shown, earlier["next"]) == (["m0", "m0", "m1", "m1", "m2", "m2"], None)


async def test_a_cursor_beyond_the_end_is_gone_and_one_at_the_end_has_nothing_behind_it(client: Client) -> None:
    chunks = (await client.send("t1", "/tokens 2 0")).chunks()
    pk = chunks[1]["data"]["turn"]
    beyond = await client.request("GET", f"/api/turns/{pk}/stream?after={pk}-{len(chunks) + 1}")
    assert (beyond.status, beyond.json()["error"]["code"]) == (410, "cursor_gone")
    at_the_end = await client.request("GET", f"/api/turns/{pk}/stream?after={pk}-{len(chunks)}")
    assert at_the_end.body == b"data: [DONE]\n\n"


async def test_a_send_that_waits_for_a_stop_asks_for_it_once(client: Client, settings: Any) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.Stubborn"  # which takes a second to be stopped
    async with await AsyncConnection.connect(**listen_parameters(), autocommit=True) as line:
        await line.execute(f"LISTEN {STOP_CHANNEL}")
        first = asyncio.create_task(client.send("t1", "Hello", "m1"))
        while not live_turns():
            await asyncio.sleep(0.01)
        second = asyncio.create_task(client.send("t1", "Hello", "m2", on_busy="stop"))
        assert (await first).chunks()[-1] == {"type": "abort"}
        assert len([told async for told in line.notifies(timeout=0.2)]) == 1
        await client.request("POST", "/api/chat/t1/stop")
        await second


def dead_turn(asker: Scope, chunks: list[bytes], thread: str = "t1") -> StoredTurn:
    """A turn whose process is gone: begun, some of it logged, and its lease long out."""
    turn = begin_turn(
        asker,
        open_thread(asker, thread),
        "dead",
        fingerprint="",
        request={},
        user_message=NewUserMessage([{"type": "text", "text": "Hello"}]),
    )
    if chunks:
        append([LogRow(turn.pk, turn.epoch, 1, [chunks[0] % turn.assistant_message_id, *chunks[1:]])], "elsewhere")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_turns SET heartbeat_at = heartbeat_at - interval '1 hour' WHERE id = %s", [turn.pk])
    return turn


LOGGED = [
    b'{"type":"start","messageId":"%d"}',
    b'{"type":"start-step"}',
    b'{"type":"text-start","id":"1"}',
    b'{"type":"text-delta","id":"1","delta":"Half a "}',
    b'{"type":"tool-input-start","toolCallId":"c","toolName":"look"}',
]


async def test_a_turn_that_lives_here_is_not_taken_for_dead_by_a_send(client: Client) -> None:
    """Its lease ran out, as while the database was away."""
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as stream:
        await stream.until("text-delta")
        await Turn.objects.aupdate(heartbeat_at="2026-01-01T00:00:00Z")
        edited = said("t1", "Hello", "m2") | {"messageId": "m1"}
        for again in (said("t1", "Hello", "m2"), edited):
            refused = await client.request("POST", "/api/chat", again)
            assert (refused.status, refused.json()["error"]["code"]) == (409, "thread_busy")
        await client.request("POST", "/api/chat/t1/stop")
        await stream.until("abort")
    assert (await Turn.objects.aget()).status == "stopped"


async def test_an_end_that_postgresql_refuses_is_told_and_comes_when_it_is_taken(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with only_rows("chat_turns", "status <> 'completed'"):
        reading = asyncio.create_task(client.send("t1", "/tokens 2 0", "m1"))
        while "could not be stored (IntegrityError)" not in caplog.text:
            await asyncio.sleep(0.01)
    assert live_turns() == []
    await Turn.objects.aupdate(heartbeat_at="2026-01-01T00:00:00Z")
    assert len(await sync_to_async(recover_expired)()) == 1
    assert (await assert_shown_is_stored((await reading).chunks())).status == "interrupted"


@pytest.mark.parametrize("length", range(len(LOGGED) + 1))
async def test_a_dead_turn_is_ended_from_the_fold_of_its_log(client: Client, asker: Scope, length: int) -> None:
    turn = await sync_to_async(dead_turn)(asker, LOGGED[:length])
    assert await sync_to_async(recover_expired)() == [turn.pk]
    assert await sync_to_async(recover_expired)() == []
    ended = await assert_log_is_stored(turn.pk)
    assert ended.status == "interrupted"
    stream = await client.request("GET", f"/api/turns/{turn.pk}/stream")
    assert stream.chunks()[-1] == {"type": "abort"}
    assert stream.chunks()[0]["type"] == "start"
    await sync_to_async(assert_invariants)()


def test_a_dead_turn_that_cannot_be_ended_keeps_no_other_from_its_end_and_is_tried_again(
    asker: Scope, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, other = (dead_turn(asker, LOGGED[:4], thread) for thread in ("t1", "t2"))
    log = StreamEvents.objects.filter(turn=broken.pk)
    (whole,) = log.values_list("chunks", flat=True)
    log.update(chunks=whole[:-1])
    assert recover_expired() == [other.pk]
    assert f"turn {broken.pk} could not be recovered: JSONDecodeError" in caplog.text
    assert "Half a" not in caplog.text
    assert Turn.objects.get(pk=broken.pk).status == "streaming"
    log.update(chunks=whole)
    Turn.objects.filter(pk=broken.pk).update(heartbeat_at="2026-01-01T00:00Z")
    call_command("recover_turns")
    assert capsys.readouterr().out == f"recovered {broken.pk}\n1 turns recovered\n"
    assert_invariants()


async def test_a_send_that_meets_a_dead_turn_ends_it_first(client: Client, asker: Scope) -> None:
    turn = await sync_to_async(dead_turn)(asker, LOGGED[:4])
    await assert_shown_is_stored((await client.send("t1", "/tokens 2 0")).chunks())
    assert (await assert_log_is_stored(turn.pk)).status == "interrupted"
    texts = [message.parts async for message in Message.objects.filter(role="assistant").order_by("id")]
    assert texts[0][-1] == {"type": "text", "text": "Half a ", "state": "done"}


async def test_a_run_whose_turn_was_taken_over_stops_and_writes_nothing(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/tokens 5000 2")) as stream:
        await stream.until("text-delta")
        turn = await Turn.objects.aget()
        with_lease_out = "UPDATE chat_turns SET heartbeat_at = heartbeat_at - interval '1 hour'"
        await sync_to_async(lambda: connection.cursor().execute(with_lease_out))()
        assert await sync_to_async(recover_expired)() == [turn.pk]
        rest = await asyncio.wait_for(stream.body(), 10)
    assert rest.endswith(b"data: [DONE]\n\n")
    assert b'"abort"' in rest
    ended = await assert_log_is_stored(turn.pk)
    assert (ended.status, ended.epoch) == ("interrupted", 2)
    await sync_to_async(assert_invariants)()


async def test_a_run_that_is_stopped_before_its_first_step_still_ends(client: Client, asker: Scope) -> None:
    turn = await sync_to_async(dead_turn)(asker, [])
    run = start_run(turn)
    run.cancel(TurnStatus.STOPPED)
    await asyncio.wait_for(run.task, 10)
    assert (await assert_log_is_stored(turn.pk)).status == "stopped"
    stream = await client.request("GET", f"/api/turns/{turn.pk}/stream")
    assert [chunk["type"] for chunk in stream.chunks()][:: len(stream.chunks()) - 1] == ["start", "abort"]
    assert live_turns() == []
    await sync_to_async(assert_invariants)()


async def test_a_run_that_cannot_say_its_first_word_gives_its_place_back(client: Client, asker: Scope) -> None:
    """Else its lease would be renewed for ever, its thread busy for ever, and a drain would never end."""

    class Untellable(str):
        def __str__(self) -> str:
            raise RuntimeError

    turn = await sync_to_async(dead_turn)(asker, [])
    run = start_run(replace(turn, assistant_message_id=Untellable()))
    await asyncio.wait_for(run.task, 10)
    assert live_turns() == []
    assert await sync_to_async(recover_expired)() == [turn.pk]
    stream = await client.request("GET", f"/api/turns/{turn.pk}/stream")
    assert stream.chunks()[-1] == {"type": "abort"}
