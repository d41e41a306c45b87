"""An agent that is stuck, or does not listen, costs its own turn and nothing else."""

from __future__ import annotations

import logging
import time
from contextlib import aclosing

import pytest
from django.test import override_settings

from chat.models import Turn
from chat.testing.client import Client, said
from tests.folded import assert_log_is_stored, assert_shown_is_stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


@override_settings(CHAT_AGENT="tests.turns.agents.Stalls", CHAT_STALL_SECONDS=0.3)
async def test_a_silent_agent_fails_its_turn_with_an_error_that_survives_a_reload(client: Client) -> None:
    chunks = (await client.send("t1", "Hello", "m1")).chunks()
    turn = await assert_shown_is_stored(chunks)
    assert (turn.status, turn.error_code) == ("failed", "agent_stalled")
    assert chunks[-1] == {"type": "error", "errorText": "The assistant stopped answering."}
    answer = (await client.request("GET", "/api/threads/t1/messages/")).json()["results"][-1]
    assert answer["parts"][-1]["text"] == "Well, "
    assert answer["metadata"]["error_text"] == "The assistant stopped answering."


@override_settings(CHAT_AGENT="tests.turns.agents.Hurries", CHAT_STALL_SECONDS=0.2, CHAT_PENDING_BYTES=2000)
async def test_an_agent_that_waits_for_our_log_is_not_silent(client: Client) -> None:
    with override_settings(CHAT_COMMIT_GAP=0.5, CHAT_SHORTEST_COMMIT_GAP=0.5):
        async with client.stream("POST", "/api/chat", said("t1", "Hello", "m1")) as stream:
            begun = time.monotonic()
            async with aclosing(stream.events()) as events:
                async for event in events:
                    assert event.chunk
                    assert event.chunk["type"] != "error"
                    if time.monotonic() - begun > 1.5:
                        break
    assert (await Turn.objects.aget(turn_id="m1")).status == "streaming"
    await client.request("POST", "/api/chat/t1/stop")


@override_settings(CHAT_AGENT="tests.turns.agents.Trips")
async def test_an_agent_that_fails_because_it_is_stopped_has_not_failed_its_turn(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chat")
    async with client.stream("POST", "/api/chat", said("t1", "Hello", "m1")) as stream:
        async with aclosing(stream.events()) as events:
            async for event in events:
                if event.chunk and event.chunk["type"] == "text-delta":
                    break
        await client.request("POST", "/api/chat/t1/stop")
        await stream.body()
    assert (await Turn.objects.aget(turn_id="m1")).status == "stopped"
    assert {record.event for record in caplog.records} == {"turn_begun", "turn_ended"}  # type: ignore[attr-defined]


@override_settings(CHAT_AGENT="tests.turns.agents.Stubborn")
async def test_an_agent_that_ignores_its_stop_is_left_behind_and_adds_nothing(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "Hello", "m1")) as stream:
        await stream.until("text-delta")
        await client.request("POST", "/api/chat/t1/stop")
        await stream.body()
    turn = await Turn.objects.aget(turn_id="m1")
    assert turn.status == "stopped"
    await assert_log_is_stored(turn.pk)
