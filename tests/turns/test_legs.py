"""Two legs of one turn that meet in one process: the one before is still ending when the next begins."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from chat.models import Turn
from chat.store.sql import connection
from chat.testing.client import Client
from chat.testing.held import held_at
from chat.turns import heartbeat, run
from tests.folded import assert_shown_is_stored
from tests.turns.agents import Paced
from tests.turns.waiting import decide, whole

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


@pytest.fixture(autouse=True)
def paced(settings: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Events that let the first leg and the second go on."""
    events = asyncio.Event(), asyncio.Event()
    settings.CHAT_AGENT = "tests.turns.agents.Paced"
    monkeypatch.setattr(Paced, "events", events)
    return events


async def until_live(pk: int, epoch: int) -> None:
    async with asyncio.timeout(10):
        while (pk, epoch) not in run.live_turns():
            await asyncio.sleep(0.01)


def renew(loop: asyncio.AbstractEventLoop, hold: Callable[..., Any] | None = None) -> None:
    """What the heartbeat's thread does; ``hold`` comes between what it knows and its statement."""
    with connection().execute_wrapper(hold) if hold else nullcontext():
        heartbeat._renew(loop)
    connection().close()


async def begun(client: Client) -> tuple[asyncio.Task[Any], Turn]:
    sending = asyncio.create_task(client.send("t1", "Hello", "m1"))
    while not run.live_turns():
        await asyncio.sleep(0.01)
    return sending, await Turn.objects.aget()


async def second_leg_begun(
    client: Client, parked: threading.Event
) -> tuple[asyncio.Task[Any], Turn, asyncio.Task[Any]]:
    """The send, the turn and a reader of all of it; its second leg runs, and the first has not heard of its park."""
    sending, turn = await begun(client)
    await asyncio.to_thread(parked.wait, 10)
    assert (await decide(client, turn, {"approved": True})).status == 200
    reading = asyncio.create_task(whole(client, turn))
    await until_live(turn.pk, 2)
    return sending, turn, reading


async def test_a_leg_that_begins_while_the_one_before_still_ends_is_heard_and_kept(
    client: Client, paced: tuple[asyncio.Event, asyncio.Event]
) -> None:
    """The park is committed, and its run has not heard of it yet: a client that decides by itself is as quick."""
    paced[0].set()
    with held_at("park:after") as (reached, released):
        sending, turn, reading = await second_leg_begun(client, reached)
        released.set()
        first = (await sending).chunks()
    assert first[-1]["finishReason"] == "tool-calls", "the first leg's reader comes to its end, and no further"
    assert run.live_turns() == [(turn.pk, 2)], "its lease is renewed, a drain waits for it"
    assert not reading.done()
    paced[1].set()
    chunks = await asyncio.wait_for(reading, 10)
    assert chunks[: len(first)] == first
    turn = await assert_shown_is_stored(chunks)
    assert (turn.status, turn.epoch) == ("completed", 2)


async def test_a_stop_reaches_the_leg_that_runs_and_not_the_one_that_is_ending(
    client: Client, paced: tuple[asyncio.Event, asyncio.Event]
) -> None:
    paced[0].set()
    with held_at("park:after") as (reached, released):
        sending, turn, reading = await second_leg_begun(client, reached)
        assert (await client.request("POST", "/api/chat/t1/stop")).status == 202
        turn = await assert_shown_is_stored(await asyncio.wait_for(reading, 5))
        released.set()
        await sending
    assert (turn.status, turn.epoch) == ("stopped", 2)


async def test_a_lease_that_is_renewed_while_the_next_leg_begins_does_not_cancel_it(
    client: Client, paced: tuple[asyncio.Event, asyncio.Event], caplog: pytest.LogCaptureFixture
) -> None:
    """What is ours is listed, the leg parks, the next one begins; then the first one's lease is not found."""
    reached, released = threading.Event(), threading.Event()

    def hold(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        reached.set()
        released.wait(10)
        return execute(sql, *rest)

    sending, turn = await begun(client)
    renewing = asyncio.create_task(asyncio.to_thread(renew, asyncio.get_running_loop(), hold))
    await asyncio.to_thread(reached.wait, 10)
    paced[0].set()
    await sending
    await decide(client, turn, {"approved": True})
    await until_live(turn.pk, 2)
    with caplog.at_level(logging.WARNING):
        released.set()
        await renewing
        paced[1].set()
        turn = await assert_shown_is_stored(await whole(client, turn))
    assert (turn.status, turn.epoch) == ("completed", 2)
    assert not [one for one in caplog.records if getattr(one, "event", "") == "turn_taken_over"]


async def test_a_turn_that_ends_while_its_lease_is_renewed_was_not_taken_over(
    client: Client, paced: tuple[asyncio.Event, asyncio.Event], caplog: pytest.LogCaptureFixture
) -> None:
    paced[0].set()
    with caplog.at_level(logging.WARNING), held_at("park:after") as (reached, released):
        sending, _ = await begun(client)
        await asyncio.to_thread(reached.wait, 10)
        await asyncio.to_thread(renew, asyncio.get_running_loop())
        await asyncio.sleep(0)  # what it has told the loop
        released.set()
        await sending
    assert not [one for one in caplog.records if getattr(one, "event", "") == "turn_taken_over"]
