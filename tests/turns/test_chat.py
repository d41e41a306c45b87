"""``POST /api/chat`` from the first byte to the stored end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chat.models import Message, Thread, TokenUsage, Turn
from chat.streams.hub import find_stream
from chat.testing.client import Client, said
from chat.testing.held import held_at
from chat.testing.invariants import assert_invariants
from tests.folded import assert_log_is_stored, assert_shown_is_stored, ended
from tests.turns.agents import Says

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


def types(chunks: list[dict[str, Any]]) -> list[str]:
    return [chunk["type"] for chunk in chunks]


async def test_a_turn_is_told_in_the_order_of_the_design(client: Client) -> None:
    response = await client.send("t1", "/tokens 3 0", "m1")
    chunks = response.chunks()

    assert response.status == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert types(chunks) == [
        "start",
        "data-turn",
        "data-user-message-id",
        "data-assistant-message-id",
        "data-thread-title",
        "start-step",
        "text-start",
        "text-delta",
        "text-delta",
        "text-delta",
        "text-end",
        "finish-step",
        "data-token-usage",
        "finish",
    ]
    turn = await assert_shown_is_stored(chunks)
    assert (turn.status, turn.turn_id) == ("completed", "m1")


async def test_the_ids_of_the_handshake_are_the_primary_keys_as_numbers(client: Client) -> None:
    chunks = (await client.send("t1", "/tokens 1 0", "m1")).chunks()
    user = await Message.objects.aget(role="user")
    answer = await Message.objects.aget(role="assistant")

    data = {chunk["type"]: chunk["data"] for chunk in chunks if "data" in chunk}
    assert data["data-user-message-id"] == {"message_id": user.pk, "turn_id": "m1"}
    assert data["data-assistant-message-id"] == {"message_id": answer.pk, "turn_id": "m1"}
    assert chunks[0]["messageId"] == str(answer.pk)
    assert user.client_id == "m1"


async def test_every_event_has_a_cursor_without_gaps(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/tokens 20 0")) as stream:
        events = [event async for event in stream.events()]
    turn = await Turn.objects.aget()
    assert [event.cursor for event in events[:-1]] == [f"{turn.pk}-{seq}" for seq in range(1, len(events))]
    assert (events[-1].cursor, events[-1].chunk) == (None, None)


@pytest.mark.parametrize("command", ["Hello", "/think", "/tool", "/tokens 200 0"])
async def test_what_the_demo_agent_shows_is_what_is_stored(client: Client, command: str) -> None:
    turn = await assert_shown_is_stored((await client.send("t1", command)).chunks())
    assert turn.status == "completed"
    await sync_to_async(assert_invariants)()


@pytest.mark.parametrize("command", ["/fail", "/fail 3"])
async def test_a_failure_is_told_and_stored_with_its_code_and_text(client: Client, command: str) -> None:
    chunks = (await client.send("t1", command)).chunks()
    turn = await assert_shown_is_stored(chunks)

    assert chunks[-1] == {"type": "error", "errorText": "The demo agent failed, as you asked."}
    assert (turn.status, turn.error_code, turn.finish_reason) == ("failed", "demo_failure", "error")
    answer = await Message.objects.aget(role="assistant")
    assert answer.metadata["error_text"] == turn.error_text == chunks[-1]["errorText"]
    await sync_to_async(assert_invariants)()


async def test_a_reader_that_hangs_up_after_the_third_chunk_leaves_a_whole_turn(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/tokens 40 5")) as stream:
        seen = 0
        async for _ in stream.events():
            seen += 1
            if seen == 3:
                break
    turn = await ended((await Turn.objects.aget()).pk)
    answer = await Message.objects.aget(role="assistant")
    assert turn.status == "completed"
    assert answer.parts[-1]["text"] == "".join(f"w{number} " for number in range(1, 41))
    await sync_to_async(assert_invariants)()


async def test_a_client_that_hangs_up_before_anything_is_answered_leaves_a_whole_turn(client: Client) -> None:
    with held_at("begin:after") as (reached, released):
        send = asyncio.create_task(client.send("t1", "/tokens 5 1"))
        await asyncio.to_thread(reached.wait)
        send.cancel()
        await asyncio.sleep(0.1)
        released.set()
        with pytest.raises(asyncio.CancelledError):
            await send
    turn = await ended((await Turn.objects.aget()).pk)
    await assert_log_is_stored(turn.pk)
    assert turn.status == "completed"
    await sync_to_async(assert_invariants)()


async def test_a_retry_during_the_turn_joins_it_from_its_start(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/tokens 30 5", "m1")) as first:
        retry = asyncio.create_task(client.send("t1", "/tokens 30 5", "m1"))
        one = await first.body()
        two = (await retry).body
    assert one == two
    assert await Turn.objects.acount() == 1
    assert await Message.objects.acount() == 2


async def test_a_retry_after_the_end_replays_the_turn(client: Client) -> None:
    first = (await client.send("t1", "/tool", "m1")).chunks()
    turn = await Turn.objects.aget()
    while find_stream(turn.pk):
        await asyncio.sleep(0.05)
    again = (await client.send("t1", "/tool", "m1")).chunks()

    await assert_shown_is_stored(first)
    await assert_shown_is_stored(again)
    assert again[0] == first[0]
    assert await Turn.objects.acount() == 1


async def test_a_failed_turn_replays_its_failure(client: Client) -> None:
    await client.send("t1", "/fail 2", "m1")
    turn = await Turn.objects.aget()
    while find_stream(turn.pk):
        await asyncio.sleep(0.05)
    again = (await client.send("t1", "/fail 2", "m1")).chunks()
    await assert_shown_is_stored(again)
    assert again[-1]["type"] == "error"


async def test_another_message_meanwhile_is_refused_and_leaves_no_rows(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as stream:
        await anext(stream.events())
        refused = await client.send("t1", "Hello", "m2")
        turn = await Turn.objects.aget()
        assert refused.status == 409
        assert refused.json()["error"] == {
            "code": "thread_busy",
            "message": "The thread is answering another message.",
            "turn": turn.pk,
            "turn_id": "m1",
            "status": "streaming",
            "cursor": f"{turn.pk}-0",
        }
        assert await Message.objects.acount() == 2
        await client.request("POST", "/api/chat/t1/stop")


async def test_the_same_message_id_with_another_text_is_a_conflict(client: Client) -> None:
    await client.send("t1", "/tokens 1 0", "m1")
    refused = await client.send("t1", "/tokens 2 0", "m1")
    assert (refused.status, refused.json()["error"]["code"]) == (409, "turn_conflict")


async def test_a_stop_keeps_what_was_shown(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang")) as stream:
        chunks = await stream.until("text-delta")
        stopped = await client.request("POST", "/api/chat/t1/stop")
        chunks += await stream.until("abort")
    turn = await assert_shown_is_stored(chunks)

    assert (stopped.status, stopped.json()["turn"]) == (202, turn.pk)
    assert chunks[-1] == {"type": "abort"}
    assert turn.status == "stopped"
    assert (await Message.objects.aget(role="assistant")).parts[-1]["text"] == "Hanging … "
    assert (await TokenUsage.objects.aget()).source == "reported"
    idle = await client.request("POST", "/api/chat/t1/stop")
    assert (idle.status, idle.json()) == (200, {"status": "idle"})


async def test_a_page_that_loads_in_mid_answer_joins_the_stream(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/tokens 100 10")) as first:
        await anext(first.events())
        history = (await client.request("GET", "/api/threads/t1/messages/")).json()["results"]
        second = await client.request("GET", "/api/chat/t1/stream")
    assert [message["role"] for message in history] == ["user"]
    await assert_shown_is_stored(second.chunks())
    after = await client.request("GET", "/api/chat/t1/stream")
    assert (after.status, after.body) == (204, b"")


async def test_a_cursor_gives_only_what_follows_it(client: Client) -> None:
    whole = (await client.send("t1", "/tokens 10 0")).body
    turn = await Turn.objects.aget()
    events = whole.split(b"\n\n")
    for seq in range(len(events) - 1):
        rest = await client.request("GET", f"/api/turns/{turn.pk}/stream?after={turn.pk}-{seq}")
        assert rest.body == b"\n\n".join(events[seq:])
    by_header = await client.request("GET", "/api/chat/t1/stream", headers={"last-event-id": f"{turn.pk}-5"})
    assert by_header.body == b"\n\n".join(events[5:])


async def test_a_thread_that_the_asker_has_not_is_made_and_named_after_its_first_message(client: Client) -> None:
    await client.send("chosen by the client", "Hello there,   how are\nyou?")
    thread = await Thread.objects.aget()
    assert (thread.client_id, thread.title) == ("chosen by the client", "Hello there, how are you?")


async def test_a_thread_s_own_id_means_it_too(client: Client) -> None:
    await client.send("t1", "/tokens 1 0")
    thread = await Thread.objects.aget()
    await client.send(str(thread.pk), "/tokens 2 0")
    assert await Thread.objects.acount() == 1
    assert await Message.objects.filter(thread=thread).acount() == 4


async def test_a_process_that_is_full_refuses_and_writes_nothing(client: Client, settings: Any) -> None:
    settings.CHAT_MAX_LIVE_TURNS = 1
    async with client.stream("POST", "/api/chat", said("t1", "/hang")) as stream:
        await anext(stream.events())
        refused = await client.send("t2", "Hello")
        assert (refused.status, refused.json()["error"]["code"]) == (503, "server_full")
        assert int(refused.headers["retry-after"]) > 0
        assert await Thread.objects.acount() == 1
        await client.request("POST", "/api/chat/t1/stop")


async def test_an_exception_of_an_agent_is_neither_shown_nor_logged_in_its_own_words(
    client: Client, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.Raises"
    chunks = (await client.send("t1", "Hello")).chunks()
    turn = await assert_shown_is_stored(chunks)
    assert (turn.status, turn.error_code) == ("failed", "agent_error")
    assert "ValueError" in caplog.text
    for shown in (caplog.text, str(chunks)):
        assert "sk-secret" not in shown


async def test_an_agent_that_says_nothing_leaves_an_empty_completed_answer(client: Client, settings: Any) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.Silent"
    turn = await assert_shown_is_stored((await client.send("t1", "Hello")).chunks())
    answer = await Message.objects.aget(role="assistant")
    assert (turn.status, answer.parts) == ("completed", [])
    assert (await TokenUsage.objects.aget()).source == "missing"


async def test_an_agent_that_reports_no_usage_gets_an_estimate(client: Client, settings: Any) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.Mute"
    await client.send("t1", "Hello")
    usage = await TokenUsage.objects.aget()
    assert usage.source == "estimated"
    assert usage.completion_tokens > 0


async def test_an_error_chunk_of_an_agent_fails_the_turn(client: Client, settings: Any) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.Complains"
    chunks = (await client.send("t1", "Hello")).chunks()
    turn = await assert_shown_is_stored(chunks)
    assert (turn.status, turn.error_text) == ("failed", "out of luck")


async def test_an_abort_chunk_of_an_agent_stops_the_turn(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"type": "text-delta", "id": "1", "delta": "Well, "}
    monkeypatch.setattr(Says, "chunks", [words, {"type": "abort"}, words])
    settings.CHAT_AGENT = "tests.turns.agents.Says"
    turn = await assert_shown_is_stored((await client.send("t1", "Hello")).chunks())
    assert turn.status == "stopped"
    assert (await Message.objects.aget(role="assistant")).parts[-1]["text"] == "Well, "


async def test_the_model_is_told_what_was_said_before(client: Client, settings: Any) -> None:
    await client.send("t1", "/tokens 2 0")
    await client.send("t1", "/fail")
    settings.CHAT_AGENT = "tests.turns.agents.Recalls"
    await client.send("t1", "And now?")
    answer = await Message.objects.filter(role="assistant").alatest("id")
    assert answer.parts[-1]["text"] == "user:/tokens 2 0|assistant:w1 w2 |user:/failAnd now?"


async def test_mentioned_documents_are_kept_with_the_user_message(client: Client) -> None:
    document = {"id": 7, "title": "Plan", "document_type": "FILE", "kind": "doc"}
    folder = {"id": 8, "title": "Notes", "kind": "folder"}
    await client.send("t1", "/tokens 1 0", mentioned_documents=[document, folder])
    message = await Message.objects.aget(role="user")
    assert message.parts[1] == {
        "type": "data-mentioned-documents",
        "data": {"documents": [document, {"id": 8, "title": "Notes", "kind": "folder"}]},
    }


async def test_live_turns_are_interrupted_and_stored_when_the_process_drains(client: Client) -> None:
    from chat.turns import run

    async with client.stream("POST", "/api/chat", said("t1", "/hang")) as stream:
        await anext(stream.events())
        await run.drain()
        rest = await stream.body()
        refused = await client.send("t2", "Hello")
    turn = await Turn.objects.aget()
    assert turn.status == "interrupted"
    assert b"[DONE]" in rest
    assert refused.status == 503
    await sync_to_async(assert_invariants)()


async def test_an_answer_without_an_end_is_cut_off_before_it_is_too_large_to_be_stored(
    client: Client, settings: Any
) -> None:
    settings.CHAT_MAX_ANSWER_BYTES = 10_000
    chunks = (await client.send("t1", "/tokens 5000 0")).chunks()
    turn = await assert_shown_is_stored(chunks)
    assert (turn.status, turn.error_code) == ("failed", "answer_too_long")
    assert 100 < len(chunks) < 400
    assert (await client.send("t1", "/tokens 2 0")).status == 200
