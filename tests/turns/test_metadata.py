"""What a message's metadata tells of its turn, however that ended: model, timing, finish reason and usage."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chat.models import Message, Turn
from chat.testing.client import Client, said
from chat.turns.recover import recover_expired
from tests.folded import assert_shown_is_stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def told(client: Client) -> dict[str, Any]:
    """The metadata of the last answer; what it says of the usage is what the usage row says."""
    message = (await client.request("GET", "/api/threads/t1/messages/")).json()["results"][-1]
    metadata: dict[str, Any] = message["metadata"]
    assert metadata["usage"].items() <= message["usage"].items()
    return metadata


@pytest.mark.parametrize(
    ("text", "status", "reason", "tokens"),
    [("/tokens 5 1", "completed", "stop", 5), ("/fail 3", "failed", "error", 3)],
)
async def test_an_answer_tells_its_model_timing_finish_reason_and_usage(
    client: Client, text: str, status: str, reason: str, tokens: int
) -> None:
    turn = await assert_shown_is_stored((await client.send("t1", text)).chunks())
    metadata = await told(client)
    timing = metadata["timing"]
    assert (metadata["model"], metadata["status"], metadata["finish_reason"]) == ("demo", status, reason)
    assert metadata["usage"]["completion_tokens"] == tokens
    assert 0 <= timing["first_chunk_ms"] <= timing["duration_ms"] < 60_000
    assert abs((datetime.fromisoformat(timing["started_at"]) - turn.created_at).total_seconds()) < 60


async def test_a_stopped_answer_that_never_spoke_tells_no_first_chunk(client: Client, settings: Any) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.Patient"
    async with client.stream("POST", "/api/chat", said("t1", "Hello")) as stream:
        await stream.until("data-assistant-message-id")
        await client.request("POST", "/api/chat/t1/stop", {})
        await stream.body()
    message = await Message.objects.aget(role="assistant")
    assert (message.metadata["status"], message.metadata["finish_reason"]) == ("stopped", "other")
    assert message.metadata["timing"].keys() == {"started_at", "duration_ms"}
    assert "usage" not in message.metadata, "nobody knows it"


async def test_an_answer_whose_process_died_tells_what_is_known_of_it(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang")) as stream:
        await stream.until("text-delta")
        await Turn.objects.aupdate(epoch=2, heartbeat_at="2026-01-01T00:00:00Z")
        await sync_to_async(recover_expired)()
        await stream.body()
    metadata = await told(client)
    assert (metadata["status"], metadata["usage"]["source"]) == ("interrupted", "estimated")
    assert "timing" not in metadata
