"""``POST /api/copilot/chat`` from the first byte to the stored end, read along or again."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from chat.models import CopilotChat, Thread, TokenUsage, Turn
from chat.protocol.fold import fold
from chat.store.scope import Scope
from chat.streams.hub import find_stream
from chat.testing.client import Client
from tests.copilot.turns import assert_shown_is_stored, body, made, send, sound, stored
from tests.folded import ended

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def test_a_turn_is_written_into_array_and_mirror_and_told_like_a_threads(client: Client, asker: Scope) -> None:
    chat = await made(asker, "u1", "a1")
    answer = await send(client, chat, "/tokens 3 0", "m1", contexts=[{"kind": "docs", "label": "Docs", "extra": 1}])
    chunks = answer.chunks()

    assert answer.status == 200
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert [chunk["type"] for chunk in chunks][:5] == [
        "start",
        "data-turn",
        "data-user-message-id",
        "data-assistant-message-id",
        "start-step",
    ]
    turn = await assert_shown_is_stored(chunks)
    history = await stored(chat)
    assert [one["id"] for one in history] == ["u1", "a1", "m1", chunks[0]["messageId"]]
    question, reply = history[2:]
    assert question == {
        "id": "m1",
        "role": "user",
        "content": "/tokens 3 0",
        "timestamp": question["timestamp"],
        "contexts": [{"kind": "docs", "label": "Docs", "extra": 1}],
    }
    assert (reply["role"], reply["content"], reply["turnId"]) == ("assistant", "w1 w2 w3 ", "m1")
    assert reply["parts"] == turn.parts == fold(chunks)
    assert reply["timestamp"] >= question["timestamp"]
    assert chunks[0]["messageMetadata"] == {"copilot_chat_id": str(chat), "turn_id": "m1", "model": "large"}
    row = await CopilotChat.objects.aget(pk=chat)
    assert row.active_stream_id is None
    usage = await TokenUsage.objects.aget()
    assert (usage.copilot_chat_id, usage.thread_id, usage.message_id, usage.turn_id) == (chat, None, None, turn.pk)


async def test_a_chat_for_which_nobody_chose_a_model_is_answered_with_the_default_one_and_says_so(
    client: Client, asker: Scope, settings: Any
) -> None:
    settings.CHAT_AGENT, settings.CHAT_MODEL = "chat.agents.demo.agent", "test:usual"
    chosen = await made(asker)
    started = (await send(client, chosen, "/tokens 1 0", "m1")).chunks()[0]
    unchosen = (await send(client, None, "/tokens 1 0", "m2")).chunks()[0]
    assert [one["messageMetadata"]["model"] for one in (started, unchosen)] == ["large", "test:usual"]
    assert [turn.model async for turn in Turn.objects.order_by("pk")] == ["large", "test:usual"]


async def test_the_chat_is_marked_with_its_stream_while_a_turn_is_live(client: Client, asker: Scope) -> None:
    chat = await made(asker)
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/hang", "m1")) as stream:
        assert stream.status == 200
        row = await CopilotChat.objects.aget(pk=chat)
        assert (row.active_stream_id, [one["id"] for one in row.messages]) == ("m1", ["m1"])
        assert row.title == "/hang"
        await client.request("POST", "/api/copilot/chat/stop", {"chatId": str(chat)})
        await stream.body()
    assert (await CopilotChat.objects.aget(pk=chat)).active_stream_id is None


async def test_a_send_may_make_its_chat_and_its_retry_finds_it(client: Client, settings: Any) -> None:
    settings.CHAT_MODELS = ["small"]
    first = await send(client, None, "/tokens 2 0", "m1", model="small")
    second = await send(client, None, "/tokens 2 0", "m1", model="small")
    assert first.body == second.body
    chat = await CopilotChat.objects.aget()
    assert (chat.title, chat.model) == ("/tokens 2 0", "small")
    assert first.chunks()[0]["messageMetadata"]["copilot_chat_id"] == str(chat.pk)
    assert await Turn.objects.acount() == 1

    await send(client, None, "/tokens 2 0")
    assert await CopilotChat.objects.acount() == 2


async def test_a_retry_is_the_same_turn_and_its_bytes_are_the_same(client: Client, asker: Scope) -> None:
    chat = await made(asker)
    first = await send(client, chat, "/tool", "m1")
    second = await send(client, chat, "/tool", "m1")
    assert (second.status, second.body) == (200, first.body)
    assert len(await stored(chat)) == 2
    await assert_shown_is_stored(first.chunks())


async def test_the_same_id_with_another_payload_is_a_conflict_and_writes_nothing(
    client: Client, asker: Scope, settings: Any
) -> None:
    settings.CHAT_MODELS = ["other"]
    chat = await made(asker)
    await send(client, chat, "Hello", "m1")
    before = await stored(chat)
    for changed in ({"message": "Goodbye"}, {"contexts": [{"kind": "k", "label": "l"}]}, {"model": "other"}):
        refused = await client.request("POST", "/api/copilot/chat", body(chat, "Hello", "m1") | changed)
        assert (refused.status, refused.json()["error"]["code"]) == (409, "turn_conflict")
    assert await stored(chat) == before
    assert await Turn.objects.acount() == 1


@pytest.mark.usefixtures("phase")
async def test_the_id_of_an_older_message_is_a_conflict_and_writes_nothing(client: Client, asker: Scope) -> None:
    chat = await made(asker, "u1", "a1")
    for name in ("u1", "a1"):
        refused = await send(client, chat, "words of " + name, name)
        assert (refused.status, refused.json()["error"]["code"]) == (409, "turn_conflict")
    assert [one["id"] for one in await stored(chat)] == ["u1", "a1"]
    assert not await Turn.objects.aexists()
    assert (await CopilotChat.objects.aget(pk=chat)).active_stream_id is None


@pytest.mark.usefixtures("phase")
async def test_a_message_that_an_older_program_has_left_unanswered_is_answered(client: Client, asker: Scope) -> None:
    chat = await made(asker, "u1", "a1", "u2")
    answer = await send(client, chat, "words of u2", "u2")
    await assert_shown_is_stored(answer.chunks())
    assert [one["id"] for one in await stored(chat)] == ["u1", "a1", "u2", answer.chunks()[0]["messageId"]]


async def test_a_busy_chat_refuses_and_says_where_its_stream_is(client: Client, asker: Scope) -> None:
    chat = await made(asker)
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/hang", "m1")) as stream:
        assert stream.status == 200
        turn = await Turn.objects.aget()
        refused = await send(client, chat, "Hello", "m2")
        error = refused.json()["error"]
        assert refused.status == 409
        assert error.pop("message")
        assert error == {
            "code": "chat_busy",
            "turn": turn.pk,
            "turn_id": "m1",
            "stream_id": "m1",
            "status": "streaming",
            "cursor": f"{turn.pk}-0",
        }
        assert [one["id"] for one in await stored(chat)] == ["m1"]
        refused = await client.request("POST", f"/api/copilot/chats/{chat}/inbox/", {"message": "Hello"})
        assert (refused.status, refused.json()["error"]["code"]) == (409, "chat_busy")


@pytest.mark.usefixtures("phase")
async def test_of_two_sends_at_the_same_instant_one_wins_and_the_other_leaves_nothing(
    client: Client, asker: Scope
) -> None:
    chat = await made(asker)
    answers = await asyncio.gather(*(send(client, chat, "/tokens 20 5", f"m{n}") for n in range(6)))
    winners = [one for one in answers if one.status == 200]
    assert len(winners) == 1
    assert {one.json()["error"]["code"] for one in answers if one.status != 200} == {"chat_busy"}
    await assert_shown_is_stored(winners[0].chunks())
    assert len(await stored(chat)) == 2


@pytest.mark.parametrize("command", ["Hello", "/think", "/tool", "/tokens 200 0", "/fail", "/fail 3"])
async def test_whatever_the_agent_does_is_stored_as_it_was_shown(client: Client, asker: Scope, command: str) -> None:
    chat = await made(asker, "u1", "a1")
    chunks = (await send(client, chat, command)).chunks()
    turn = await assert_shown_is_stored(chunks)
    last = (await stored(chat))[-1]
    assert last["role"] == ("assistant" if turn.parts else "user")


@pytest.mark.usefixtures("phase")
async def test_the_model_is_told_what_was_said_before(client: Client, asker: Scope, settings: Any) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.Recalls"
    chat = await made(asker, "u1", "a1")
    first = await send(client, chat, "one", "m1")
    assert fold(first.chunks())[-1]["text"] == "user:words of u1|assistant:words of a1|user:one"
    settings.CHAT_HISTORY_MESSAGES = 2
    second = await send(client, chat, "two", "m2")
    said = fold(first.chunks())[-1]["text"]
    assert fold(second.chunks())[-1]["text"] == f"user:one|assistant:{said}|user:two"


async def test_an_array_of_nonsense_does_not_keep_a_turn_from_running(
    client: Client, asker: Scope, settings: Any
) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.Recalls"
    nonsense = [
        1,
        None,
        "text",
        [],
        {},
        {"role": "user"},
        {"role": 7, "id": {}},
        {"id": "x", "role": "user", "content": {"a": 1}},
        {"id": "y", "role": "assistant", "content": "fine", "parts": [1, {}, {"type": 3}, {"type": "text"}]},
        {"id": "z", "role": "assistant", "content": "kept"},
    ]
    chat = await made(asker, messages=nonsense, mirrored=False)
    await sync_to_async(_give_a_number_that_only_postgres_holds)(chat)
    answer = await send(client, chat, "Hello", "m1")
    assert fold(answer.chunks())[-1]["text"].endswith("|assistant:kept|user:Hello")


def _give_a_number_that_only_postgres_holds(chat: uuid.UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE copilot_chats SET messages = messages || '[{"id": "n", "role": "user", "n": 1e400}]'"""
            " WHERE id = %s",
            [chat],
        )


async def test_a_reader_resumes_behind_its_cursor_during_the_turn_and_after_it(client: Client, asker: Scope) -> None:
    chat = await made(asker)
    path = "/api/copilot/chat/stream?streamId=m1"
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/tokens 40 5", "m1")) as stream:
        seen = []
        async for event in stream.events():
            seen.append(event)
            if len(seen) == 6:
                break
    live = await client.request("GET", f"{path}&after={seen[-1].cursor}")
    whole = await client.request("GET", f"{path}&after={seen[0].cursor.partition('-')[0]}-0")
    assert live.chunks() == whole.chunks()[6:]
    by_header = await client.request("GET", path, headers={"last-event-id": seen[-1].cursor})
    assert by_header.body == live.body
    await assert_shown_is_stored(whole.chunks())


async def test_a_resume_without_a_cursor_replays_a_live_turn_and_is_empty_after_it(
    client: Client, asker: Scope
) -> None:
    chat = await made(asker)
    path = "/api/copilot/chat/stream?streamId=m1"
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/tokens 20 5", "m1")) as stream:
        again = await client.request("GET", path)
        assert again.body == await stream.body()
    await ended((await Turn.objects.aget()).pk)
    assert (await client.request("GET", path)).status == 204


@pytest.mark.usefixtures("phase")
async def test_a_pruned_turn_is_told_from_its_element(client: Client, asker: Scope) -> None:
    chat = await made(asker)
    first = await send(client, chat, "/tool", "m1")
    turn = await Turn.objects.aget()
    await sync_to_async(lambda: connection.cursor().execute("DELETE FROM chat_stream_events"))()
    while find_stream(turn.pk):
        await asyncio.sleep(0.05)
    path = "/api/copilot/chat/stream?streamId=m1"
    again = await client.request("GET", f"{path}&after={turn.pk}-0")
    assert fold(again.chunks()) == fold(first.chunks())
    assert again.chunks()[0] == first.chunks()[0]
    gone = await client.request("GET", f"{path}&after={turn.pk}-3")
    assert (gone.status, gone.json()["error"]["code"]) == (410, "cursor_gone")


async def test_a_turn_may_be_read_stopped_and_looked_at_by_its_number(client: Client, asker: Scope) -> None:
    chat = await made(asker)
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/hang", "m1")):
        pk = (await Turn.objects.aget()).pk
        shown = (await client.request("GET", f"/api/turns/{pk}")).json()
        assert (shown["thread_id"], shown["copilot_chat_id"], shown["status"]) == (None, str(chat), "streaming")
        assert (shown["user_message_id"], shown["turn_id"]) == ("m1", "m1")
        assert (await client.request("POST", f"/api/turns/{pk}/stop")).status == 202
    await ended(pk)
    whole = await client.request("GET", f"/api/turns/{pk}/stream")
    await assert_shown_is_stored(whole.chunks())


async def test_a_copilot_turn_is_no_turn_of_a_thread(client: Client, asker: Scope) -> None:
    chat = await made(asker)
    await send(client, chat, "Hello", "m1")
    pk = (await Turn.objects.aget()).pk
    await Thread.objects.acreate(owner_id=asker.user_id, client_id="t1")
    assert (await client.request("GET", f"/api/chat/t1/stream?after={pk}-0")).status == 404
    assert (await client.request("GET", f"/api/chat/{chat}/stream?after={pk}-0")).status == 404
    assert (await client.request("GET", f"/api/threads/{chat}/")).status == 404


async def test_nobody_learns_of_what_is_not_theirs(client: Client, other_client: Client, asker: Scope) -> None:
    chat = await made(asker, "u1", "a1")
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/hang", "m1")):
        pk = (await Turn.objects.aget()).pk
        missing = uuid.uuid4()
        for method, path, sent in (
            ("POST", "/api/copilot/chat", body(chat, "Hello", "m1")),
            ("POST", "/api/copilot/chat", body(chat, "Hello")),
            ("POST", "/api/copilot/chat/stop", {"chatId": str(chat)}),
            ("POST", "/api/copilot/chat/stop", {"streamId": "m1"}),
            ("GET", "/api/copilot/chat/stream?streamId=m1", None),
            ("GET", f"/api/copilot/chat/stream?streamId=m1&after={pk}-0", None),
            ("GET", f"/api/turns/{pk}", None),
            ("GET", f"/api/turns/{pk}/stream", None),
            ("POST", f"/api/turns/{pk}/stop", None),
            ("POST", f"/api/copilot/chats/{chat}/inbox/", {"message": "Hello"}),
        ):
            refused = await other_client.request(method, path, sent)
            assert refused.status == 404, (path, refused.status, refused.body)
            sent = None if sent is None else {**sent, **({"chatId": str(missing)} if "chatId" in sent else {})}
            unknown = path.replace(str(chat), str(missing)).replace("=m1", "=none").replace(str(pk), str(pk + 999))
            if sent and "streamId" in sent:
                sent["streamId"] = "none"
            assert (await other_client.request(method, unknown, sent)).body == refused.body
        assert (await Turn.objects.aget()).stop_requested_at is None


@pytest.mark.usefixtures("phase")
async def test_an_inbox_message_is_answered_without_a_reader(client: Client, asker: Scope) -> None:
    chat = await made(asker, "u1", "a1")
    path = f"/api/copilot/chats/{chat}/inbox/"
    said = {"message": "/tokens 3 0", "userMessageId": "mail-1"}
    taken = await client.request("POST", path, said)
    assert taken.status == 202
    turn = taken.json()
    assert (turn["status"], turn["trigger"], turn["turn_id"]) == ("streaming", "inbox", "mail-1")
    await ended(turn["turn"])
    again = await client.request("POST", path, said)
    assert (again.status, again.json()["turn"], again.json()["status"]) == (202, turn["turn"], "completed")
    history = await stored(chat)
    assert [one["id"] for one in history] == ["u1", "a1", "mail-1", turn["assistant_message_id"]]
    assert history[-1]["content"] == "w1 w2 w3 "
    await sound()
