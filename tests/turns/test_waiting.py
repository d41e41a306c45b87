"""What becomes of a turn that waits: nobody decides, its thread goes, its user has used all they may."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import OperationalError
from django.db.models import F

from chat.models import QuotaCounter, StreamEvents, TokenUsage, ToolApproval, Turn
from chat.store.scope import Scope
from chat.store.turns import read_turn
from chat.telemetry import commit_observers
from chat.testing.client import Client
from chat.testing.invariants import assert_database_is_sound
from chat.turns import run
from chat.turns.recover import recover_expired
from chat.turns.run import drain
from chat.turns.stop import stop_each
from chat.turns.waiting import end_overdue
from tests.folded import assert_log_is_stored, assert_shown_is_stored
from tests.turns.agents import Says
from tests.turns.waiting import decide, message_of, parked, pending, repost, responded, whole

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def time_goes_by(hours: float) -> None:
    await ToolApproval.objects.aupdate(expires_at=F("expires_at") - timedelta(hours=hours))


async def test_a_turn_on_which_nobody_decides_is_stopped_after_a_day_without_asking_the_model(client: Client) -> None:
    turn, first = await parked(client)
    await time_goes_by(23)
    assert await sync_to_async(end_overdue)() == []
    await time_goes_by(1)
    assert await sync_to_async(end_overdue)() == [turn.pk]
    assert await sync_to_async(end_overdue)() == []
    chunks = await whole(client, turn)
    assert chunks[len(first)] == {"type": "tool-output-denied", "toolCallId": chunks[len(first) - 5]["toolCallId"]}
    turn = await assert_shown_is_stored(chunks)
    assert (turn.status, turn.error_code) == ("stopped", "approval_expired")
    metadata = (await message_of(client, turn))["metadata"]
    assert (metadata["status"], metadata["error_code"]) == ("stopped", "approval_expired")
    assert (await ToolApproval.objects.aget()).status == "expired"
    assert len((await TokenUsage.objects.aget()).call_details["calls"]) == 1
    await sync_to_async(assert_database_is_sound)()


async def test_the_command_that_recovers_turns_ends_those_as_well(client: Client) -> None:
    turn, _ = await parked(client)
    await time_goes_by(25)
    said = StringIO()
    await sync_to_async(call_command)("recover_turns", stdout=said)
    assert f"stopped {turn.pk}: nobody decided in time" in said.getvalue()
    assert (await Turn.objects.aget()).status == "stopped"


async def test_a_waiting_turn_that_cannot_be_ended_keeps_no_other_from_its_end_and_is_tried_again(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    broken, _ = await parked(client, thread="t1")
    other, _ = await parked(client, thread="t2")
    await time_goes_by(25)
    last = await StreamEvents.objects.filter(turn=broken).order_by("-first_seq").afirst()
    log = StreamEvents.objects.filter(turn=broken, first_seq=last.first_seq)
    await log.aupdate(chunks=last.chunks[:-1])
    assert await sync_to_async(end_overdue)() == [other.pk]
    assert f"turn {broken.pk}, which waits no longer, could not be ended: JSONDecodeError" in caplog.text
    await log.aupdate(chunks=last.chunks)
    assert await sync_to_async(end_overdue)() == [broken.pk]
    await sync_to_async(assert_database_is_sound)()


@pytest.mark.parametrize("durability", ["async", "exit"])
async def test_a_turn_waits_and_goes_on_however_durable_its_stream_is(
    client: Client, settings: Any, durability: str
) -> None:
    settings.CHAT_DURABILITY = durability
    turn, first = await parked(client)
    message = responded(await message_of(client, turn), approved=True)
    await assert_shown_is_stored([*first, *(await repost(client, message)).chunks()])


async def test_a_decision_that_comes_too_late_ends_the_turn_where_nobody_has_swept(client: Client) -> None:
    turn, _ = await parked(client)
    await time_goes_by(25)
    late = await decide(client, turn, {"approved": True})
    assert (late.status, late.json()["error"]["code"]) == (409, "turn_ended")
    assert (await Turn.objects.aget()).error_code == "approval_expired"


async def test_without_a_limit_a_turn_waits_for_ever(client: Client, settings: Any) -> None:
    settings.CHAT_APPROVAL_SECONDS = 0
    await parked(client)
    assert (await ToolApproval.objects.aget()).expires_at is None
    assert await sync_to_async(end_overdue)() == []


async def test_a_park_whose_commit_was_not_heard_of_is_asked_for_again_and_changes_nothing(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def cut(point: str) -> None:
        if point == "park:after" and not told:
            told.append(point)
            raise OperationalError("the connection broke behind the commit")

    commit_observers.append(cut)
    try:
        turn, _ = await parked(client)
    finally:
        commit_observers.remove(cut)
    assert told
    assert "could not be stored" not in caplog.text
    assert (await decide(client, turn, {"approved": True})).status == 200
    assert (await assert_shown_is_stored(await whole(client, turn))).status == "completed"


async def test_a_waiting_turn_is_nobody_s_to_recover(client: Client) -> None:
    await parked(client)
    assert await sync_to_async(recover_expired)() == []
    assert (await Turn.objects.aget()).status == "awaiting_approval"


async def test_a_waiting_turn_survives_the_end_of_its_process(client: Client) -> None:
    turn, _ = await parked(client)
    await drain()
    refused = await decide(client, turn, {"approved": True})
    assert (refused.status, refused.json()["error"]["code"]) == (503, "server_full")
    assert len(await pending(turn)) == 1
    run.accept_turns_again()
    assert (await decide(client, turn, {"approved": True})).status == 200
    await assert_shown_is_stored(await whole(client, turn))


async def test_a_process_that_dies_in_the_second_leg_leaves_it_to_be_recovered(client: Client) -> None:
    """What was decided is told though its leg wrote nothing; and the first leg's usage is kept."""
    turn, first = await parked(client, "/approve 2")
    one, two = await pending(turn)
    await Turn.objects.aupdate(status="streaming", epoch=2, heartbeat_at="2026-01-01T00:00:00Z")
    decided = {"decided_at": "2026-01-01T00:00:00Z"}
    await ToolApproval.objects.filter(pk=one.pk).aupdate(status="approved", changed_input={"to": "x"}, **decided)
    await ToolApproval.objects.filter(pk=two.pk).aupdate(status="denied", **decided)
    assert await sync_to_async(recover_expired)() == [turn.pk]
    chunks = await whole(client, turn)
    assert [chunk["type"] for chunk in chunks[len(first) : -3]] == ["tool-output-denied", "tool-output-error"]
    turn = await assert_shown_is_stored(chunks)
    assert turn.status == "interrupted"
    assert len((await TokenUsage.objects.aget()).call_details["calls"]) == 1


async def test_a_deleted_thread_takes_its_waiting_turn_along(client: Client) -> None:
    turn, _ = await parked(client)
    assert (await client.request("DELETE", "/api/threads/t1/")).status == 204
    assert (await decide(client, turn, {"tool_call_id": "mail", "approved": True})).status == 404
    turn = await assert_log_is_stored(turn.pk)
    assert turn.status == "stopped"
    await sync_to_async(assert_database_is_sound)()


async def test_a_turn_that_parks_in_the_moment_in_which_all_are_stopped_is_looked_at_once_more(
    client: Client, asker: Scope
) -> None:
    turn, _ = await parked(client)
    stored = await sync_to_async(read_turn)(asker, turn.pk)
    looks = iter([[replace(stored, status="streaming")], [stored]])
    await sync_to_async(stop_each)(lambda: next(looks))
    assert (await Turn.objects.aget()).status == "stopped"


async def test_a_turn_may_wait_again_in_its_next_leg(client: Client, settings: Any) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.AsksTwice"
    turn, _ = await parked(client)
    await decide(client, turn, {"approved": True})
    await whole(client, turn)
    (second,) = await pending(turn)
    assert second.tool_call_id == "second"
    state = (await client.request("GET", "/api/threads/t1/state/")).json()
    assert [call["tool_call_id"] for call in state["approvals"]] == ["second"]
    assert (await repost(client, responded(await message_of(client, turn), approved=False))).status == 200
    turn = await assert_shown_is_stored(await whole(client, turn))
    assert (turn.status, turn.epoch) == ("completed", 3)
    assert (await message_of(client, turn))["parts"][-1]["text"] == "first approved, second denied"
    usage = await TokenUsage.objects.aget()
    assert [call["prompt_tokens"] for call in usage.call_details["calls"]] == [1, 2, 3]
    assert usage.total_tokens == 6


@pytest.mark.parametrize("reason", ["length", "content-filter"])
async def test_an_answer_that_was_cut_off_waits_for_nobody(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.Says"
    call = {"type": "tool-input-available", "toolCallId": "c", "toolName": "search", "input": {}}
    monkeypatch.setattr(Says, "chunks", [call, {"type": "finish", "finishReason": reason}])
    turn = await assert_shown_is_stored((await client.send("t1", "Hello")).chunks())
    assert turn.status == "completed"


async def test_a_provider_s_own_call_without_a_result_waits_for_nobody(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.Says"
    call = {"toolCallId": "c", "toolName": "search", "input": {}, "providerExecuted": True}
    monkeypatch.setattr(Says, "chunks", [{"type": "tool-input-available", **call}])
    turn = await assert_shown_is_stored((await client.send("t1", "Hello")).chunks())
    assert turn.status == "completed"


async def test_usage_that_nobody_reports_is_estimated_leg_by_leg(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.Says"
    call = {"type": "tool-input-available", "toolCallId": "c", "toolName": "search", "input": {}}
    monkeypatch.setattr(Says, "chunks", [{"type": "text-delta", "id": "1", "delta": "words " * 50}, call])
    turn, _ = await parked(client)
    before = (await TokenUsage.objects.aget()).total_tokens
    monkeypatch.setattr(Says, "chunks", [{"type": "text-delta", "id": "1", "delta": "more " * 50}])
    await decide(client, turn, {"output": "found"})
    await assert_shown_is_stored(await whole(client, turn))
    usage = await TokenUsage.objects.aget()
    assert usage.source == "estimated"
    assert before + 60 < usage.total_tokens < before + 120


async def test_a_waiting_turn_holds_no_place_and_its_next_leg_takes_one(client: Client, settings: Any) -> None:
    settings.CHAT_QUOTA_LIVE_TURNS = 1
    turn, _ = await parked(client)
    counter = await QuotaCounter.objects.aget()
    assert (counter.live, counter.tokens) == ([], (await TokenUsage.objects.aget()).total_tokens)
    async with client.stream("POST", "/api/chat", {"id": "t2", "messages": [hang()]}):
        while not await Turn.objects.filter(status="streaming").aexists():
            await asyncio.sleep(0.01)
        refused = await decide(client, turn, {"approved": True})
        assert (refused.status, refused.json()["error"]["limit"]) == (429, "live_turns")
        assert len(await pending(turn)) == 1, "nothing was written"
        await client.request("POST", "/api/chat/t2/stop")
        while await Turn.objects.filter(status="streaming").aexists():
            await asyncio.sleep(0.01)
    assert (await decide(client, turn, {"approved": True})).status == 200
    await assert_shown_is_stored(await whole(client, turn))
    counter = await QuotaCounter.objects.aget()
    assert counter.live == []
    assert counter.tokens == sum([row.total_tokens async for row in TokenUsage.objects.all()]), "no token twice"


def hang() -> dict[str, Any]:
    return {"id": "m", "role": "user", "parts": [{"type": "text", "text": "/hang"}]}


async def test_another_answer_that_waits_is_shown_in_the_place_of_the_one_there_is(client: Client) -> None:
    await client.send("t1", "/approve", "m1")
    (first,) = [turn async for turn in Turn.objects.all()]
    await decide(client, first, {"approved": True})
    await whole(client, first)
    body = {"id": "t1", "messages": [], "trigger": "regenerate-message"}
    chunks = (await client.request("POST", "/api/chat", body)).chunks()
    turn = await Turn.objects.aget(status="awaiting_approval")
    page = (await client.request("GET", "/api/threads/t1/messages/")).json()["results"]
    assert [message["id"] for message in page][1:] == [chunks[0]["messageId"]]
    await client.request("POST", f"/api/turns/{turn.pk}/stop")
    await assert_shown_is_stored(await whole(client, turn))
