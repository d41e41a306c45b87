"""A turn of a copilot chat that waits: its answer is written at its end, like any."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chat.models import CopilotChat, TokenUsage, ToolApproval, Turn
from chat.store.scope import Scope
from chat.testing.client import Client
from tests.copilot.turns import assert_shown_is_stored, body, made, send, sound, stored
from tests.turns.waiting import decide, whole

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained", "phase")]


async def parked(client: Client, asker: Scope) -> tuple[uuid.UUID, Turn, list[dict[str, Any]]]:
    chat = await made(asker, "u1", "a1")
    chunks = (await send(client, chat, "/approve", "m1")).chunks()
    turn = await Turn.objects.aget()
    assert (turn.status, turn.last_seq, turn.heartbeat_at) == ("awaiting_approval", len(chunks), None)
    return chat, turn, chunks


async def test_a_waiting_turn_keeps_its_chat_busy_and_writes_its_answer_at_its_end(
    client: Client, asker: Scope
) -> None:
    chat, turn, first = await parked(client, asker)
    assert [one["id"] for one in await stored(chat)] == ["u1", "a1", "m1"]
    shown = (await client.request("GET", f"/api/copilot/chats/{chat}/")).json()
    assert shown["active_stream_id"] == "m1"
    assert [call["tool_name"] for call in shown["turn"]["approvals"]] == ["send_mail"]
    told = await client.request("GET", "/api/copilot/chat/stream?streamId=m1")
    assert told.chunks() == first, "its answer is nowhere else"
    refused = await client.request("POST", "/api/copilot/chat", body(chat, "Hello", "m2"))
    assert (refused.status, refused.json()["error"]["code"]) == (409, "chat_busy")
    assert (await decide(client, turn, {"approved": True})).status == 200
    await assert_shown_is_stored(await whole(client, turn))
    answer = (await stored(chat))[-1]
    assert answer["id"] == first[0]["messageId"]
    assert answer["parts"][2]["state"] == "output-available"
    assert (await CopilotChat.objects.aget()).active_stream_id is None
    assert len((await TokenUsage.objects.aget()).call_details["calls"]) == 2


async def test_a_stop_ends_a_waiting_turn_and_clears_the_marker(client: Client, asker: Scope) -> None:
    chat, turn, _ = await parked(client, asker)
    stopped = await client.request("POST", "/api/copilot/chat/stop", {"streamId": "m1"})
    assert (stopped.status, stopped.json()["turn"]) == (202, turn.pk)
    await assert_shown_is_stored(await whole(client, turn))
    answer = (await stored(chat))[-1]
    assert (answer["parts"][2]["state"], answer["metadata"]["status"]) == ("output-denied", "stopped")
    assert (await ToolApproval.objects.aget()).status == "withdrawn"
    await sound()
    assert (await send(client, chat, "/tokens 1 0", "m2")).status == 200


async def test_a_chat_that_is_deleted_takes_its_waiting_turn_along(client: Client, asker: Scope) -> None:
    chat, turn, _ = await parked(client, asker)
    assert (await client.request("DELETE", f"/api/copilot/chats/{chat}/")).status == 204
    assert not await ToolApproval.objects.aexists()
    late = await decide(client, turn, {"tool_call_id": "c", "approved": True})
    assert (late.status, late.json()["error"]["code"]) == (404, "turn_not_found")
    assert await sync_to_async(TokenUsage.objects.filter(turn=None, source="reported").count)() == 1
