"""A host's receivers hear of a turn's beginning and end, and cannot harm it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractUser
from django.db import transaction

from chat.models import Message, Turn, TurnStatus
from chat.signals import turn_ended, turn_started
from chat.store import turn_news
from chat.store.begin import begin_turn_in
from chat.store.scope import Scope
from chat.store.sql import one_transaction
from chat.store.threads import open_thread
from chat.store.turn_news import MOST_UNTOLD, receivers_told, started
from chat.testing.client import Client, said
from chat.turns import run
from chatproject.asgi import application
from tests.store.conversations import wait_behind
from tests.store.test_turns import begin, finish

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
Heard = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def heard() -> Iterator[Heard]:
    found: Heard = []

    def at_start(sender: Any, signal: Any, **facts: Any) -> None:
        # What is told of is committed: other connections see it.
        facts["messages"] = Message.objects.filter(turn_id=facts["turn_id"]).count()
        found.append(("started", {**facts, "sender": sender}))

    async def at_end(sender: Any, signal: Any, **facts: Any) -> None:
        status = (await Turn.objects.aget(pk=facts["turn"])).status
        found.append(("ended", {**facts, "stored": status, "sender": sender}))

    turn_started.connect(at_start)
    turn_ended.connect(at_end)
    try:
        yield found
    finally:
        turn_started.disconnect(at_start)
        turn_ended.disconnect(at_end)


async def told() -> None:
    await sync_to_async(receivers_told)(20)


async def test_receivers_hear_of_a_turn_behind_its_commits(client: Client, user: AbstractUser, heard: Heard) -> None:
    await client.send("t1", "/tokens 3", "m1")
    await client.send("t1", "/tokens 3", "m1")  # a retry is the same turn
    await client.send("t1", "/fail", "m2")
    await told()
    assert [what for what, _ in heard] == ["started", "ended", "started", "ended"]
    (_, first), (_, end), _, (_, failed) = heard
    assert (first["sender"], first["turn_id"], first["user_id"], first["messages"]) == (Turn, "m1", user.pk, 2)
    assert first["copilot_chat_id"] is None
    assert (end["turn"], end["thread_id"], end["stored"]) == (first["turn"], first["thread_id"], "completed")
    assert end["status"] == "completed"
    assert end["total_tokens"] > 0
    assert (failed["status"], failed["error_code"]) == ("failed", "demo_failure")


async def test_a_copilot_chat_s_turns_are_told_of_too(client: Client, heard: Heard) -> None:
    body = {"message": "/tokens 2", "createNewChat": True}
    assert (await client.request("POST", "/api/copilot/chat", body)).status == 200
    await told()
    assert [(what, facts["thread_id"]) for what, facts in heard] == [("started", None), ("ended", None)]
    assert heard[0][1]["copilot_chat_id"] == heard[1][1]["copilot_chat_id"] is not None


async def test_a_receiver_that_fails_harms_neither_the_turn_nor_the_next_receiver(
    client: Client, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(**facts: Any) -> None:
        raise RuntimeError("of the host's own")

    turn_started.connect(fails)
    turn_ended.connect(fails)
    try:
        with caplog.at_level(logging.ERROR):
            answer = await client.send("t1", "/tokens 3", "m1")
            await told()
    finally:
        turn_started.disconnect(fails)
        turn_ended.disconnect(fails)
    assert answer.chunks()[-1]["type"] == "finish"
    assert [what for what, _ in heard] == ["started", "ended"]
    assert "of the host's own" in caplog.text


def test_nobody_hears_of_what_was_rolled_back(user: AbstractUser, heard: Heard) -> None:
    for committed in (False, True):
        with one_transaction():
            begin_turn_in(Scope(user.pk), "t1", "m1", fingerprint="", request={}, user_message=None)
            transaction.set_rollback(not committed)
        receivers_told(20)
        assert [what for what, _ in heard] == ["started"] * committed


def test_a_turn_is_told_to_have_ended_once_and_one_that_never_began_not_at_all(asker: Scope, heard: Heard) -> None:
    thread = open_thread(asker, "t1")
    turn = begin(asker, thread)
    waiting = wait_behind(asker, thread, "t2")
    finish(turn, status=TurnStatus.AWAITING_APPROVAL)
    finish(waiting, status=TurnStatus.STOPPED)
    for _ in range(2):
        finish(turn)
    receivers_told(20)
    assert [(what, facts["turn"]) for what, facts in heard] == [("started", turn.pk), ("ended", turn.pk)]


def test_a_process_whose_receivers_are_not_called_any_more_says_so(
    asker: Scope, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    """The interpreter lets no thread begin anything while it exits."""
    turn_news._thread().shutdown()
    try:
        turn = begin(asker, open_thread(asker, "t1"))
    finally:
        turn_news._thread.cache_clear()
    assert f"turn {turn.pk}: its receivers were not told, the process ends" in caplog.text
    assert heard == []


async def test_a_process_that_ends_lets_its_receivers_hear_of_the_turns_it_ends(client: Client, heard: Heard) -> None:
    """A server kills itself with the signal it got, and waits for no thread."""
    reached, released = threading.Event(), threading.Event()

    def slow(**facts: Any) -> None:
        reached.set()
        released.wait(20)

    turn_started.connect(slow)
    said_to, says = asyncio.Queue[dict[str, Any]](), asyncio.Queue[dict[str, Any]]()
    process = asyncio.create_task(application({"type": "lifespan"}, said_to.get, says.put))
    await said_to.put({"type": "lifespan.startup"})
    assert (await says.get())["type"] == "lifespan.startup.complete"
    try:
        async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as stream:
            await asyncio.to_thread(reached.wait, 20)
            while not run.live_turns():  # a worker that is about to end would claim it no more
                await asyncio.sleep(0.01)
            await said_to.put({"type": "lifespan.shutdown"})
            await stream.body()  # the turn has ended, and its receivers are still at its beginning
            assert says.empty()
            released.set()
            assert (await says.get())["type"] == "lifespan.shutdown.complete"
    finally:
        turn_started.disconnect(slow)
        released.set()
        await process
    assert [(what, facts.get("status")) for what, facts in heard] == [("started", None), ("ended", "interrupted")]


def test_a_receiver_that_is_too_slow_loses_what_it_cannot_hear_in_time_and_memory_does_not_grow(
    asker: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    turn = begin(asker, open_thread(asker, "t1"))
    reached, released, heard = threading.Event(), threading.Event(), list[int]()

    def slow(**facts: Any) -> None:
        reached.set()
        released.wait(20)
        heard.append(facts["turn"])

    turn_started.connect(slow)
    try:
        started(turn)
        assert reached.wait(10)
        with caplog.at_level(logging.WARNING):
            for _ in range(MOST_UNTOLD + 2):
                started(turn)
        released.set()
        receivers_told(60)
    finally:
        turn_started.disconnect(slow)
        released.set()
    assert len(heard) == 1 + MOST_UNTOLD
    assert [getattr(one, "event", "") for one in caplog.records] == ["receivers_not_told"] * 2
