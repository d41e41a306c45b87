"""What the kit says of a database: every fault by its name, and nothing of one that is as it must be."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chat.models import StreamEvents, Turn
from chat.store.stream_log import prune
from chat.testing.client import Client
from chat.testing.invariants import assert_database_is_sound
from tests.factories import TurnFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]

sound = sync_to_async(assert_database_is_sound)


async def test_a_turn_that_still_waits_in_a_queue_has_not_ended(client: Client) -> None:
    await client.send("t1", "/tokens 2 0")
    await sound()
    await sync_to_async(TurnFactory.create)(status="queued")
    with pytest.raises(AssertionError, match="not ended"):
        await sound()


async def test_a_turn_whose_process_is_silent_is_named_before_anybody_asks_whether_it_ended(client: Client) -> None:
    await client.send("t1", "/tokens 2 0")
    await Turn.objects.aupdate(status="streaming", finished_at=None, heartbeat_at="2026-01-01T00:00Z")
    with pytest.raises(AssertionError, match="silent"):
        await sound()


async def test_a_log_that_was_pruned_in_its_time_is_no_fault_and_one_that_is_lost_is(
    client: Client, settings: Any
) -> None:
    await client.send("t1", "/tokens 2 0")
    await StreamEvents.objects.all().adelete()
    with pytest.raises(AssertionError, match="its log is gone"):
        await sound()
    await client.send("t2", "/tokens 2 0")
    settings.CHAT_LOG_RETENTION_SECONDS = 0
    assert await sync_to_async(prune)(0) == 1
    assert [(turn.status, turn.text, turn.log) for turn in await sound()] == [("completed", "w1 w2 ", [])] * 2


async def test_a_thread_that_was_imported_with_its_turns_breaks_nothing(client: Client, other_client: Client) -> None:
    await client.send("t1", "/tokens 2 0")
    exported = await client.request("GET", "/api/export/")
    assert len((await other_client.request("POST", "/api/import/", exported.body)).json()["imported"]) == 1
    (ran, imported) = await sound()
    assert (len(imported.log), imported.text) == (0, ran.text)
