"""What a running process does by itself, besides answering."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chat.models import StreamEvents, Thread, Turn
from chat.turns.heartbeat import stop_heartbeat
from tests.asgi_client import Client, said
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


async def test_the_live_turn_of_a_deleted_thread_is_stopped(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as stream:
        async for event in stream.events():
            if event.chunk and event.chunk["type"] == "text-delta":
                break
        assert (await client.request("DELETE", "/api/threads/t1/")).status == 204
        await stream.body()
    turn = await Turn.objects.aget()
    assert turn.status == "stopped"
    await assert_log_is_stored(turn.pk)
    assert (await Thread.objects.aget()).deleted_at
