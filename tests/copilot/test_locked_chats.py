"""Work on chats under their locks: how many at a time, what is waited for, and what is done again."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, transaction

from chat.models import CopilotChat, ReconcileRun
from chat.store import locked_chats
from chat.store.locked_chats import FIRST_BYTES, LockedChats, patiently
from chat.store.reconcile_chat import repair_chat
from chat.store.scope import Scope
from chat.store.sql import rows
from tests.acceptance.cluster import database_of_this_test
from tests.copilot.chats import chat_with
from tests.copilot.reconciling import CHECK, Holder, execute, reconciled

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass(frozen=True)
class Sized:
    """A chat, and what it is said to take up."""

    id: uuid.UUID
    size: int = 1


def made(asker: Scope, number: int) -> list[uuid.UUID]:
    return sorted(chat_with(asker, mirrored=False) for _ in range(number))


def taken(
    locks: LockedChats, chats: Sequence[Sized], work: Callable[[Sequence[uuid.UUID]], Any] = sorted, **how: int
) -> list[Any]:
    """What each transaction was given, or what ``work`` made of it."""
    return list(locks.each(chats, work, **how))


@pytest.mark.parametrize(
    ("sizes", "number"),
    [
        ([FIRST_BYTES // 2, FIRST_BYTES // 2, 1], 2),
        ([FIRST_BYTES // 2, FIRST_BYTES, 1], 1),
        ([1, FIRST_BYTES - 1, 1], 2),
        ([FIRST_BYTES * 2, 1], 1),
    ],
)
def test_the_first_transaction_takes_as_many_chats_as_fit(asker: Scope, sizes: list[int], number: int) -> None:
    chats = made(asker, len(sizes))
    groups = taken(LockedChats(), [Sized(*each) for each in zip(chats, sizes, strict=True)])
    assert groups[0] == chats[:number]
    assert [chat for group in groups for chat in group] == chats


def test_a_transaction_takes_more_or_fewer_chats_by_how_long_the_last_ones_took(
    asker: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, seconds = [0.0], iter([0.0, 0.06, 0.0])
    monkeypatch.setattr(locked_chats, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def work(ids: Sequence[uuid.UUID]) -> int:
        clock[0] += next(seconds)
        return len(ids)

    locks = LockedChats()
    assert taken(locks, [Sized(chat, FIRST_BYTES) for chat in made(asker, 27)], work) == [1, 15, 11]
    assert locks.held == [0.0, 0.06, 0.0]


def test_others_are_not_locked(asker: Scope) -> None:
    chat, other = made(asker, 2)

    def free(_: Sequence[uuid.UUID]) -> list[uuid.UUID]:
        with psycopg.connect(database_of_this_test()) as somebody:
            return [id_ for (id_,) in somebody.execute("SELECT id FROM copilot_chats FOR UPDATE SKIP LOCKED")]

    assert taken(LockedChats(), [Sized(chat)], free) == [[other]]


def test_a_chat_that_somebody_holds_is_taken_in_the_end(asker: Scope) -> None:
    held, free = made(asker, 2)
    locks = LockedChats()
    with Holder(held) as holder:

        def work(ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
            holder.connection.rollback()
            return list(ids)

        assert taken(locks, [Sized(held), Sized(free)], work) == [[free], [held]]
    assert (locks.busy, len(locks.held)) == ([], 2)


def test_a_chat_whose_array_lacks_messages_is_worked_on_only_where_that_is_wanted(asker: Scope) -> None:
    behind, other = chats = made(asker, 2)
    CopilotChat.objects.filter(pk=behind).update(array_behind=True)
    locks = LockedChats()
    assert taken(locks, [Sized(chat) for chat in chats]) == [[other]]
    assert locks.behind == [behind]
    assert taken(LockedChats(also_behind=True), [Sized(chat) for chat in chats]) == [chats]


def test_transactions_run_side_by_side(asker: Scope) -> None:
    chats = made(asker, 4)
    both = threading.Barrier(2)

    def work(ids: Sequence[uuid.UUID]) -> list[uuid.UUID]:
        both.wait(5)
        return list(ids)

    groups = taken(LockedChats(), [Sized(chat, FIRST_BYTES) for chat in chats], work, at_once=2)
    assert [chat for group in groups for chat in group] == chats


def test_a_run_that_left_something_alone_is_not_clean(asker: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locked_chats, "ATTEMPTS", 1)
    monkeypatch.setattr(locked_chats, "SETTINGS", locked_chats.SETTINGS.replace("500ms", "50ms"))
    right, busy, behind, missing = (chat_with(asker, "u1", mirror_failures=1) for _ in range(4))
    CopilotChat.objects.filter(pk=behind).update(array_behind=True)
    execute("DELETE FROM copilot_chat_messages WHERE chat_id = %s", missing)
    with Holder(busy):
        steps = [repair_chat(chat) for chat in (right, busy, behind)]
    assert [(step.busy, step.behind, step.is_clean) for step in steps] == [
        ([], [], True),
        ([busy], [], False),
        ([], [behind], False),
    ]
    assert list(ReconcileRun.objects.order_by("pk").values_list("is_clean", flat=True)) == [True, False, False]
    CopilotChat.objects.filter(pk=behind).delete()
    assert not reconciled(CHECK).is_clean
    repair_chat(missing)
    assert ReconcileRun.objects.latest("pk").mended == {"missing": 1, "changed": 0, "extra": 0, "misordered": 0}


def test_what_the_database_refuses_for_a_moment_is_done_again_but_not_in_somebodys_transaction() -> None:
    tries = 0

    def work() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OperationalError
        return "done"

    assert patiently(work) == "done"
    tries = 0
    with transaction.atomic(), pytest.raises(OperationalError):
        patiently(work)
    assert tries == 1


def test_a_connection_that_is_gone_is_replaced() -> None:
    statements = iter(["SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1 AS one"])
    assert patiently(lambda: rows(next(statements))) == [{"one": 1}]
