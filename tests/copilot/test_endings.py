"""Copilot turns that do not come to their own end: stopped, interrupted, overtaken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from chat.conf import Phase
from chat.models import CopilotChat, TokenUsage, Turn
from chat.store.copilot_turns import begin_copilot_turn
from chat.store.crossing import in_thread
from chat.store.scope import Scope
from chat.testing.client import Client
from chat.testing.held import held_at
from chat.turns.recover import recover_expired
from tests.copilot.turns import assert_shown_is_stored, body, made, send, sound, stored
from tests.folded import ended

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


@pytest.mark.parametrize("named", ["chatId", "streamId"])
@pytest.mark.usefixtures("phase")
async def test_a_stop_keeps_what_was_said(client: Client, asker: Scope, named: str) -> None:
    chat = await made(asker)
    names = {"chatId": str(chat), "streamId": "m1"}
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/tokens 500 5", "m1")) as stream:
        await stream.until("text-delta")
        stopping = await client.request("POST", "/api/copilot/chat/stop", {named: names[named]})
        assert (stopping.status, stopping.json()["status"]) == (202, "stopping")
    turn = await ended(stopping.json()["turn"])
    assert turn.status == "stopped"
    idle = await client.request("POST", "/api/copilot/chat/stop", {named: names[named]})
    assert (idle.status, idle.json()) == (200, {"status": "idle"})
    await sound()
    _, answer = await stored(chat)
    assert answer["content"].startswith("w1 ")
    assert answer["metadata"]["status"] == "stopped"
    assert (await send(client, chat, "/tokens 1 0", "m2")).status == 200


async def test_a_turn_that_is_stopped_before_its_first_word_leaves_no_answer(
    client: Client, asker: Scope, settings: Any
) -> None:
    settings.CHAT_AGENT = "tests.copilot.agents.Waits"
    chat = await made(asker)
    async with client.stream("POST", "/api/copilot/chat", body(chat, "Hello", "m1")) as stream:
        await client.request("POST", "/api/copilot/chat/stop", {"streamId": "m1"})
        await stream.body()
    assert [one["id"] for one in await stored(chat)] == ["m1"]
    assert (await CopilotChat.objects.aget(pk=chat)).active_stream_id is None
    turn = (await sound())[-1]
    assert (turn.status, turn.parts) == ("stopped", [])


@pytest.mark.usefixtures("phase")
async def test_what_a_dead_process_has_shown_is_kept(client: Client, asker: Scope, settings: Any) -> None:
    chat = await made(asker, "u1", "a1")
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/hang", "m1")) as stream:
        events = await stream.until("text-delta")
        await Turn.objects.aupdate(heartbeat_at="2020-01-01T00:00Z")
        pk = (await Turn.objects.aget()).pk
        assert await sync_to_async(recover_expired)() == [pk]
        turn = (await sound())[-1]
        assert (turn.status, turn.text) == ("interrupted", events[-1]["delta"])
    history = await stored(chat)
    assert [one["id"] for one in history] == ["u1", "a1", "m1", events[0]["messageId"]]
    assert history[-1]["metadata"]["status"] == "interrupted"
    assert (await CopilotChat.objects.aget(pk=chat)).active_stream_id is None


async def test_a_send_that_meets_an_expired_lease_recovers_that_turn_first(client: Client, asker: Scope) -> None:
    chat = await made(asker)
    asked = {"said": {"content": "Hello"}, "fingerprint": "", "request": {}, "owner": "gone"}
    await in_thread(begin_copilot_turn, asker, chat, "m1", **asked)
    await Turn.objects.aupdate(heartbeat_at="2020-01-01T00:00Z")
    assert (await send(client, chat, "/tokens 2 0", "m2")).status == 200
    first, last = await sound()
    assert (first.status, last.status) == ("interrupted", "completed")
    assert [one["role"] for one in await stored(chat)] == ["user", "user", "assistant"]


async def test_a_turn_that_lives_here_is_not_taken_for_dead_by_a_send(client: Client, asker: Scope) -> None:
    """Its lease ran out, as while the database was away."""
    chat = await made(asker)
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/hang", "m1")) as stream:
        await stream.until("text-delta")
        await Turn.objects.aupdate(heartbeat_at="2020-01-01T00:00Z")
        refused = await send(client, chat, "/tokens 2 0", "m2")
        assert (refused.status, refused.json()["error"]["code"]) == (409, "chat_busy")
        await client.request("POST", "/api/copilot/chat/stop", {"streamId": "m1"})
    assert (await Turn.objects.aget()).status in ("streaming", "stopped")
    await ended((await Turn.objects.aget()).pk)


async def test_a_stop_and_the_end_of_a_turn_have_one_outcome(client: Client, asker: Scope) -> None:
    chat = await made(asker)
    with held_at("finish:before") as (reached, released):
        sent = asyncio.create_task(send(client, chat, "/tokens 2 0", "m1"))
        assert await asyncio.to_thread(reached.wait, 5)
        stopping = await client.request("POST", "/api/copilot/chat/stop", {"chatId": str(chat)})
        assert stopping.status == 202
        released.set()
        chunks = (await sent).chunks()
    turn = await assert_shown_is_stored(chunks)
    assert turn.status == "completed"


async def test_a_finish_that_is_overtaken_by_a_recovery_writes_nothing(client: Client, asker: Scope) -> None:
    chat = await made(asker)
    with held_at("finish:before") as (reached, released):
        sent = asyncio.create_task(send(client, chat, "/tokens 3 0", "m1"))
        assert await asyncio.to_thread(reached.wait, 5)
        await Turn.objects.aupdate(heartbeat_at="2020-01-01T00:00Z")
        assert len(await in_thread(recover_expired)) == 1
        before = await stored(chat)
        released.set()
        chunks = (await sent).chunks()
    assert await stored(chat) == before
    turn = await assert_shown_is_stored(chunks)
    assert turn.status == "interrupted"


@pytest.mark.usefixtures("phase")
async def test_a_failing_usage_row_does_not_cost_the_answer(client: Client, asker: Scope) -> None:
    chat = await made(asker)
    await sync_to_async(_with_a_trigger)(
        "token_usage", "IF NEW.source <> 'missing' THEN RAISE EXCEPTION 'no usage today'; END IF;"
    )
    try:
        chunks = (await send(client, chat, "/tokens 3 0", "m1")).chunks()
    finally:
        await sync_to_async(_without_a_trigger)("token_usage")
    await assert_shown_is_stored(chunks)
    usage = await TokenUsage.objects.aget()
    assert (usage.source, usage.copilot_chat_id) == ("missing", chat)


@pytest.mark.parametrize("phase", [Phase.DUAL, Phase.MIRROR_READS])
async def test_an_agent_s_count_that_the_mirror_cannot_hold_costs_neither_the_mirror_nor_the_usage(
    client: Client, asker: Scope, settings: Any, phase: Phase
) -> None:
    settings.COPILOT_MESSAGES_PHASE, settings.CHAT_AGENT = phase, "tests.copilot.agents.Boasts"
    chat = await made(asker)
    await assert_shown_is_stored((await send(client, chat, "Hello", "m1")).chunks())
    assert len(await stored(chat)) == 2, "in the mirror as well"
    usage = await TokenUsage.objects.aget()
    assert (usage.source, usage.prompt_tokens, usage.completion_tokens) == ("reported", 3_000_000_000, 2**63 - 1)


def _with_a_trigger(table: str, does: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + does + " RETURN NEW; END $$"
        )
        cursor.execute(f"CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()")


def _without_a_trigger(table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER refuse ON {table}")
        cursor.execute("DROP FUNCTION refuse()")


async def test_losing_the_chat_ends_its_streams(client: Client, asker: Scope, settings: Any, other_user: Any) -> None:
    settings.CHAT_ACCESS_CHECK_SECONDS = 0.1
    chat = await made(asker)
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/hang", "m1")) as stream:
        await asyncio.sleep(0.3)
        await CopilotChat.objects.aupdate(user=other_user)
        cut = await asyncio.wait_for(stream.body(), 5)
    assert b"[DONE]" not in cut
    assert (await Turn.objects.aget()).status == "streaming", "a reader's end is not a stop"
