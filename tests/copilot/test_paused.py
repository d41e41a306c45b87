"""Each of the six places paused between its two writes, against a reconcile, a replace and a neighbouring phase.

A mirror that is right only when nothing else happens is a toy.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from django.db import connection, connections

from chat.conf import Phase
from chat.errors import ChatNotFound, StaleMessages
from chat.models import CopilotChat, CopilotMessage, ReconcileMode
from chat.store import copilot
from chat.store.drift import Kind
from chat.store.reconcile import Step, reconcile
from chat.store.reconcile_range import ALL
from chat.store.scope import Scope
from chat.store.sql import drop_broken_connections
from chat.testing.held import held_at
from tests.copilot.chats import array, assert_mirrored, chat_with, element, elements
from tests.copilot.test_writer import end, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]

# What each place does to a chat of u1, a1, u2, whose live stream is u2.
PLACES: dict[str, Callable[[Scope, uuid.UUID], Any]] = {
    "send": lambda asker, chat: send(asker, chat, element("u3")),
    "terminal state": lambda asker, chat: end(chat, "u2", element("a2", "assistant")),
    "inbox": lambda asker, chat: (send(asker, chat, element("u3")), end(chat, "u3", element("a3", "assistant"))),
    "fork": lambda asker, chat: copilot.fork_chat(asker, chat, "a1"),
    "update-messages": lambda asker, chat: copilot.replace_messages(asker, chat, elements("u2", "u1"), version=0),
    "import": lambda asker, chat: copilot.import_chat(asker.user_id, title="", model="", elements=elements("u1", "a1")),
}
NEIGHBOURS = [(Phase.DUAL, Phase.MIRROR_READS), (Phase.MIRROR_READS, Phase.DUAL)]


def elsewhere(work: Callable[[], Any]) -> tuple[ThreadPoolExecutor, Future[Any]]:
    pool = ThreadPoolExecutor(1)

    def run() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    return pool, pool.submit(run)


def during(place: str, asker: Scope, chat: uuid.UUID, other: Callable[[], Any]) -> Future[Any]:
    """Let ``place`` wait between its two writes, begin ``other`` meanwhile, and let both come to their end."""
    with held_at("mirror:before") as (reached, released):
        pool, first = elsewhere(lambda: PLACES[place](asker, chat))
        assert reached.wait(10)
        other_pool, second = elsewhere(other)
        time.sleep(0.2)  # it waits for the chat's lock, or has nothing to wait for
        released.set()
        first.result(20)
    second.exception(20)
    pool.shutdown()
    other_pool.shutdown()
    return second


def started(asker: Scope) -> uuid.UUID:
    return chat_with(asker, "u1", "a1", "u2", active_stream_id="u2")


def chats() -> list[uuid.UUID]:
    return list(CopilotChat.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("place", PLACES)
def test_a_replace_that_comes_in_between_is_stale_or_whole(asker: Scope, settings: Any, place: str) -> None:
    settings.COPILOT_MESSAGES_PHASE = Phase.DUAL
    chat = started(asker)
    replace = during(place, asker, chat, lambda: copilot.replace_messages(asker, chat, elements("u1", "u7"), version=0))
    if place in ("fork", "import"):
        assert replace.result() == 1
        assert array(chat) == ["u1", "u7"]
    else:
        assert isinstance(replace.exception(), StaleMessages)
    assert_mirrored(*chats())
    assert not CopilotChat.objects.filter(mirror_failures__gt=0).exists()


@pytest.mark.parametrize("mode", [ReconcileMode.INSERT, ReconcileMode.REPAIR])
@pytest.mark.parametrize("place", PLACES)
def test_a_reconcile_that_comes_in_between_mends_only_what_was_broken_before(
    asker: Scope, settings: Any, place: str, mode: ReconcileMode
) -> None:
    settings.COPILOT_MESSAGES_PHASE = Phase.DUAL
    chat = started(asker)
    CopilotMessage.objects.filter(chat=chat, message_id="a1").delete()
    broken = chat_with(asker, "u1", "a1", mirrored=False)
    total = during(place, asker, chat, lambda: reconciled(mode)).result()
    replaced = place == "update-messages"  # which leaves nothing that was broken
    assert total.found - total.left == Counter({Kind.MISSING: 2 if replaced else 3})
    assert not +total.left
    assert_mirrored(broken, *(one for one in chats() if one != broken))
    assert reconciled(ReconcileMode.CHECK).found == Counter()


def reconciled(mode: ReconcileMode) -> Step:
    total = Step()
    for step in reconcile(ALL, mode):
        total.add(step)
    return total


@pytest.mark.parametrize(("phase", "neighbour"), NEIGHBOURS)
@pytest.mark.parametrize("place", PLACES)
def test_a_process_in_the_neighbouring_phase_writes_in_between(
    asker: Scope, settings: Any, place: str, phase: Phase, neighbour: Phase
) -> None:
    settings.COPILOT_MESSAGES_PHASE = phase
    chat = started(asker)

    def beside() -> None:
        settings.COPILOT_MESSAGES_PHASE = neighbour
        send(asker, chat, element("u8"))
        end(chat, "u8", element("a8", "assistant"))

    during(place, asker, chat, beside).result()
    assert {"u8", "a8"} <= set(array(chat))
    assert_mirrored(*chats())


@pytest.mark.parametrize("place", [place for place in PLACES if place != "import"])
def test_a_chat_that_is_deleted_in_between_leaves_no_rows(asker: Scope, settings: Any, place: str) -> None:
    settings.COPILOT_MESSAGES_PHASE = Phase.DUAL
    chat = started(asker)
    # An inbox is two transactions: the second one may find no chat any more.
    with suppress(ChatNotFound):
        during(place, asker, chat, lambda: CopilotChat.objects.filter(pk=chat).delete()).result()
    assert chat not in chats()
    assert_mirrored(*chats())


@pytest.mark.parametrize("place", PLACES)
def test_a_process_that_dies_between_the_two_writes_leaves_neither(asker: Scope, settings: Any, place: str) -> None:
    settings.COPILOT_MESSAGES_PHASE = Phase.DUAL
    chat = started(asker)
    with held_at("mirror:before") as (reached, released):
        pool, first = elsewhere(lambda: PLACES[place](asker, chat))
        assert reached.wait(10)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND state = 'idle in transaction'"
            )
        released.set()
        assert first.exception(20) is not None
    pool.shutdown()
    drop_broken_connections()
    assert array(chat) == ["u1", "a1", "u2"]
    assert chats() == [chat]
    assert_mirrored(chat)
