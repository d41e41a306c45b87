"""A turn that waits for a person: approved, denied, changed, and by whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chat.models import Message, TokenUsage, ToolApproval, Turn
from chat.testing.client import Client
from chat.testing.invariants import assert_database_is_sound
from tests.folded import assert_shown_is_stored
from tests.turns.waiting import answered, decide, message_of, parked, pending, repost, responded, whole

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def test_a_turn_that_asks_ends_its_leg_and_waits_in_the_history(client: Client) -> None:
    turn, chunks = await parked(client)
    assert [chunk["type"] for chunk in chunks[-5:]] == [
        "tool-input-available",
        "tool-approval-request",
        "finish-step",
        "data-token-usage",
        "finish",
    ]
    assert chunks[-1]["finishReason"] == "tool-calls"
    part = (await message_of(client, turn))["parts"][-1]
    assert (part["state"], part["approval"]) == ("approval-requested", {"id": chunks[-4]["approvalId"]})
    assert (await client.request("GET", "/api/chat/t1/stream")).status == 204
    state = (await client.request("GET", "/api/threads/t1/state/")).json()
    (asked,) = state["approvals"]
    assert (asked["turn"], asked["kind"], asked["tool_name"], asked["input"]) == (
        turn.pk,
        "approval",
        "send_mail",
        {"to": "friend1@example.org", "subject": "Hello"},
    )
    assert (asked["message_id"], state["turn"]) == (state["messages"][-1]["id"], None)
    assert state["cursor"] == f"{turn.pk}-{len(chunks)}"


async def test_an_approval_goes_on_with_the_same_turn_message_log_and_usage_row(client: Client) -> None:
    turn, first = await parked(client)
    answer = await decide(client, turn, {"approved": True})
    assert (answer.status, answer.json()["status"], answer.json()["approvals"]) == (200, "streaming", [])
    chunks = await whole(client, turn)
    assert chunks[: len(first)] == first
    assert chunks[len(first)]["type"] == "start"
    assert chunks[len(first)]["messageId"] == first[0]["messageId"]
    turn = await assert_shown_is_stored(chunks)
    assert (turn.status, turn.epoch, turn.finish_reason) == ("completed", 2, "stop")
    message = await Message.objects.aget(turn_id=turn.turn_id, role="assistant")
    assert message.parts[2]["output"] == {"sent": True, "to": "friend1@example.org"}
    assert message.parts[-1]["text"] == "Sent to friend1@example.org. "
    usage = await TokenUsage.objects.aget()
    assert (usage.source, len(usage.call_details["calls"])) == ("reported", 2)
    assert usage.total_tokens == sum(call["total_tokens"] for call in usage.call_details["calls"])
    told = [chunk["data"] for chunk in chunks if chunk["type"] == "data-token-usage"]
    assert [one["total_tokens"] for one in told] == [
        usage.call_details["calls"][0]["total_tokens"],
        usage.total_tokens,
    ]
    approval = await ToolApproval.objects.aget()
    assert (approval.status, approval.decided_by_id) == ("approved", turn.user_id)


async def test_a_denial_is_told_to_the_agent_with_its_reason_and_the_tool_does_not_run(client: Client) -> None:
    turn, _ = await parked(client)
    await decide(client, turn, {"approved": False, "reason": "too late at night"})
    await assert_shown_is_stored(await whole(client, turn))
    parts = (await message_of(client, turn))["parts"]
    assert parts[2]["state"] == "output-denied"
    assert parts[-1]["text"] == "Not sent to friend1@example.org: too late at night. "


async def test_a_changed_input_is_what_runs_and_what_is_stored(client: Client) -> None:
    turn, _ = await parked(client)
    changed = {"to": "ann@example.org", "subject": "Hi"}
    assert (await decide(client, turn, {"approved": True, "input": changed})).status == 200
    await assert_shown_is_stored(await whole(client, turn))
    parts = (await message_of(client, turn))["parts"]
    assert (parts[2]["input"], parts[2]["output"]["to"]) == (changed, "ann@example.org")
    assert parts[-1]["text"] == "Sent to ann@example.org, as you changed it. "
    assert (await ToolApproval.objects.aget()).changed_input == changed


async def test_a_posted_message_with_decisions_is_answered_with_what_follows(client: Client) -> None:
    turn, first = await parked(client)
    message = responded(await message_of(client, turn), approved=True)
    chunks = (await repost(client, message)).chunks()
    assert (chunks[0]["type"], chunks[0]["messageId"]) == ("start", message["id"])
    assert "tool-output-available" in [chunk["type"] for chunk in chunks]
    await assert_shown_is_stored([*first, *chunks])
    ended = await repost(client, message)
    assert (ended.status, ended.json()["error"]["code"]) == (409, "turn_ended")


async def test_a_client_s_own_tool_is_answered_by_the_message_it_posts(client: Client) -> None:
    turn, first = await parked(client, "/where")
    (call,) = await pending(turn)
    assert (call.kind, call.tool_name) == ("output", "browser_time_zone")
    message = answered(await message_of(client, turn), state="output-available", output="Europe/Zurich")
    chunks = (await repost(client, message)).chunks()
    await assert_shown_is_stored([*first, *chunks])
    assert (await message_of(client, turn))["parts"][-1]["text"] == "Your clock runs on Europe/Zurich time. "


async def test_a_client_s_own_tool_may_fail(client: Client) -> None:
    turn, first = await parked(client, "/where")
    message = answered(await message_of(client, turn), state="output-error", errorText="No.")
    await assert_shown_is_stored([*first, *(await repost(client, message)).chunks()])
    parts = (await message_of(client, turn))["parts"]
    assert (parts[1]["errorText"], parts[-1]["text"]) == ("No.", "You did not tell me where you are. ")


async def test_a_turn_goes_on_when_the_last_call_is_decided(client: Client) -> None:
    turn, _ = await parked(client, "/approve 3")
    calls = [one.tool_call_id for one in await pending(turn)]
    for number, call in enumerate(calls[:2]):
        waiting = (await decide(client, turn, {"tool_call_id": call, "approved": number == 0})).json()
        assert waiting["status"] == "awaiting_approval"
        assert [one["tool_call_id"] for one in waiting["approvals"]] == calls[number + 1 :]
    # A client that posts again before all is decided is told that there is nothing more, yet.
    assert (await repost(client, await message_of(client, turn))).chunks() == []
    assert (await decide(client, turn, {"tool_call_id": calls[2], "approved": True})).json()["status"] == "streaming"
    turn = await assert_shown_is_stored(await whole(client, turn))
    assert [part["state"] for part in (await message_of(client, turn))["parts"] if "toolCallId" in part] == [
        "output-available",
        "output-denied",
        "output-available",
    ]


async def test_the_same_decision_again_is_harmless_and_another_one_learns_the_outcome(client: Client) -> None:
    turn, _ = await parked(client, "/approve 2")
    one, two = await pending(turn)
    yes, no = ({"tool_call_id": one.tool_call_id, "approved": approved} for approved in (True, False))
    assert (await decide(client, turn, yes)).status == 200
    assert (await decide(client, turn, yes)).status == 200
    refused = await decide(client, turn, {"tool_call_id": two.tool_call_id, "approved": True}, no)
    error = refused.json()["error"]
    assert (refused.status, error["code"]) == (409, "already_decided")
    assert error["outcome"] == {"tool_call_id": one.tool_call_id, "status": "approved"}
    assert [call.tool_call_id for call in await pending(turn)] == [two.tool_call_id], "all or none"
    await decide(client, turn, {"tool_call_id": two.tool_call_id, "approved": False})
    await whole(client, turn)
    assert (await decide(client, turn, yes)).json()["status"] == "completed"
    assert (await decide(client, turn, no)).json()["error"]["code"] == "already_decided"


async def test_a_request_that_says_a_thing_twice_is_taken_and_one_that_contradicts_itself_is_not(
    client: Client,
) -> None:
    turn, _ = await parked(client)
    (call,) = await pending(turn)
    yes, no = ({"approval_id": call.approval_id, "approved": approved} for approved in (True, False))
    assert (await decide(client, turn, yes, no)).json()["error"]["outcome"]["status"] == "approved"
    assert len(await pending(turn)) == 1
    assert (await decide(client, turn, yes, yes)).status == 200
    await assert_shown_is_stored(await whole(client, turn))


async def test_a_stop_withdraws_what_waits_and_says_so_in_the_log(client: Client) -> None:
    turn, first = await parked(client, "/approve 2")
    one, _ = await pending(turn)
    await decide(client, turn, {"tool_call_id": one.tool_call_id, "approved": True})
    assert (await client.request("POST", "/api/chat/t1/stop")).status == 202
    chunks = await whole(client, turn)
    assert [chunk["type"] for chunk in chunks[len(first) :]] == [
        "tool-output-error",
        "tool-output-denied",
        "data-token-usage",
        "message-metadata",
        "abort",
    ]
    turn = await assert_shown_is_stored(chunks)
    assert turn.status == "stopped"
    assert [call.status async for call in ToolApproval.objects.order_by("pk")] == ["approved", "withdrawn"]
    late = await decide(client, turn, {"approval_id": "approval-of-" + one.tool_call_id, "approved": False})
    assert late.status == 409
    assert (await client.request("POST", "/api/chat/t1/stop")).json() == {"status": "idle"}
    again = await repost(client, responded(await message_of(client, turn), approved=True))
    assert again.json()["error"]["code"] == "turn_ended"
    await sync_to_async(assert_database_is_sound)()


async def test_who_has_seen_the_question_and_sends_another_withdraws_what_waits(client: Client) -> None:
    turn, _ = await parked(client, message_id="m1")
    body: dict[str, Any] = {
        "id": "t1",
        "messages": [
            {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "/approve"}]},
            {"id": "m2", "role": "user", "parts": [{"type": "text", "text": "/tokens 1 0"}]},
        ],
    }
    chunks = (await client.request("POST", "/api/chat", body)).chunks()
    assert chunks[-1]["messageMetadata"]["status"] == "completed"
    assert (await Turn.objects.aget(pk=turn.pk)).status == "stopped"
    assert (await ToolApproval.objects.aget()).status == "withdrawn"


async def test_what_waits_behind_a_waiting_turn_begins_when_that_is_stopped(client: Client) -> None:
    turn, _ = await parked(client)
    busy = await client.send("t1", "/tokens 1 0", "m2")
    assert (busy.status, busy.json()["error"]["status"]) == (409, "awaiting_approval")
    queued = asyncio.create_task(client.send("t1", "/tokens 2 0", "m3", on_busy="enqueue"))
    while not await Turn.objects.filter(status="queued").aexists():
        await asyncio.sleep(0.01)
    assert (await client.request("POST", f"/api/turns/{turn.pk}/stop")).json()["status"] == "stopped"
    assert (await queued).chunks()[-1]["type"] == "finish"
