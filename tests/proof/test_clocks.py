"""The clock of a server is wrong: leases, order and endings go by the database's, or by no clock at all."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from asgiref.sync import sync_to_async

from chat.models import Turn
from chat.testing.client import Client, said
from chat.testing.scripted import Pause, script_of
from chat.turns.recover import recover_expired
from tests.folded import assert_shown_is_stored

pytestmark = pytest.mark.django_db(transaction=True)
SPEAKS_FOR_A_WHILE = script_of([{"type": "text-delta", "id": "1", "delta": "Well. "}, Pause(1.0)])


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
async def test_a_server_whose_clock_is_off_runs_its_turns_and_takes_nobodys(
    client: Client, drained: None, scripted: None, hours: int
) -> None:
    async with client.stream("POST", "/api/chat", said("t1", SPEAKS_FOR_A_WHILE, "m1")) as right:
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours)):
            assert await sync_to_async(recover_expired)() == [], "a live turn of another process"
            wrong = await client.send("t2", SPEAKS_FOR_A_WHILE, "m1")
            await client.send("t2", "/tokens 3 0", "m2")
        await assert_shown_is_stored(wrong.chunks())
        await right.body()
    stored = (await client.request("GET", "/api/threads/t2/messages/")).json()["results"]
    assert [message["role"] for message in stored] == ["user", "assistant"] * 2
    begun = [turn.created_at async for turn in Turn.objects.order_by("pk")]
    assert begun == sorted(begun)
    assert all(abs(one.timestamp() - time.time()) < 60 for one in begun), "the database's clock"
    assert {turn.status async for turn in Turn.objects.all()} == {"completed"}
