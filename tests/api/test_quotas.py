"""What a client is told that has used what it may."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chat.models import Message, QuotaCounter, Turn
from chat.testing.client import Client, said

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def test_a_send_over_the_limit_is_429_and_says_which_and_when_it_resets(client: Client, settings: Any) -> None:
    settings.CHAT_QUOTA_TURNS_A_MINUTE = 1
    assert (await client.send("t1", "/tokens 2 0", "m1")).status == 200
    refused = await client.request("POST", "/api/chat", said("t2", "/tokens 2 0", "m2"))
    assert refused.status == 429
    error = refused.json()["error"]
    assert error.pop("resets_at")
    retry_after = error.pop("retry_after")
    assert 55 <= retry_after <= 60
    assert refused.headers["retry-after"] == str(retry_after)
    assert error == {
        "code": "quota_exceeded",
        "message": "You have sent as many messages in a minute as you may (1).",
        "limit": "turns_a_minute",
        "allowed": 1,
        "used": 1,
    }
    assert await Message.objects.acount() == 2
    assert (await client.request("GET", "/api/threads/t2/")).status == 404

    retry = await client.request("POST", "/api/chat", said("t1", "/tokens 2 0", "m1"))
    assert retry.status == 200
    assert retry.chunks()[-1]["type"] == "finish"


async def test_a_live_turn_is_not_stopped_for_one_that_may_not_begin(client: Client, settings: Any) -> None:
    settings.CHAT_QUOTA_TURNS_A_MINUTE = 1
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as stream:
        await stream.until("text-delta")
        refused = await client.request("POST", "/api/chat", said("t1", "/tokens 2 0", "m2", on_busy="stop"))
        assert refused.status == 429
        assert (await Turn.objects.aget()).status == "streaming"

        settings.CHAT_QUOTA_TURNS_A_MINUTE, settings.CHAT_QUOTA_LIVE_TURNS = 0, 1
        begun = await client.request("POST", "/api/chat", said("t1", "/tokens 2 0", "m2", on_busy="stop"))
        assert begun.status == 200, "the place of the turn it stops is free for it"
    assert [turn.status async for turn in Turn.objects.order_by("pk")] == ["stopped", "completed"]


async def test_the_tokens_of_a_turn_are_counted_at_its_end(client: Client, settings: Any) -> None:
    settings.CHAT_QUOTA_TOKENS_A_DAY = 1_000
    await client.send("t1", "/tokens 20 0", "m1")
    usage = (await Turn.objects.select_related().aget()).usage
    counter = await QuotaCounter.objects.aget()
    assert counter.tokens == (await usage.aget()).total_tokens > 0
    assert counter.live == []


async def test_a_queued_turn_waits_for_its_users_quota_and_runs_when_somebody_looks(
    client: Client, settings: Any
) -> None:
    settings.CHAT_QUOTA_TURNS_A_MINUTE, settings.CHAT_LEASE_SECONDS = 1, 0.6
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as first:
        await first.until("text-delta")
        waiting = asyncio.create_task(client.send("t1", "/tokens 2 0", "m2", on_busy="enqueue"))
        while await Turn.objects.acount() < 2:
            await asyncio.sleep(0.01)
        await client.request("POST", "/api/chat/t1/stop")
        while (await Turn.objects.aget(turn_id="m1")).status != "stopped":
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        assert (await Turn.objects.aget(turn_id="m2")).status == "queued"
        await QuotaCounter.objects.aupdate(began=[])  # a minute later
        assert (await waiting).chunks()[-1]["type"] == "finish"
