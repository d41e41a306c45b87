"""Quotas: counted where a turn begins, settled where it ends, exact whoever races."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import connection

from chat.errors import QuotaExceeded, ThreadBusy, ThreadNotFound
from chat.models import Message, QuotaCounter, Thread, TokenUsage, Turn, TurnStatus
from chat.protocol.usage import LARGEST
from chat.store.begin import NewUserMessage, begin_turn_in
from chat.store.queue import enqueue_turn, promote, waiting_threads
from chat.store.quotas import Limits
from chat.store.scope import Scope
from chat.store.threads import delete_thread, find_thread, open_thread
from chat.store.turns import StoredTurn
from chat.store.usage import UsageFigures
from chat.testing.invariants import assert_invariants
from tests.factories import UserFactory
from tests.races import race
from tests.store.test_turns import finish, text

pytestmark = pytest.mark.django_db(transaction=True)


def send(asker: Scope, thread: str, turn_id: str = "t1", words: str = "Hello") -> StoredTurn:
    """What a send does: begin a turn in a thread that may have to be made."""
    message = NewUserMessage(parts=text(words))
    return begin_turn_in(asker, thread, turn_id, fingerprint=words, request={}, user_message=message)


def refusal(asker: Scope, thread: str = "one more", turn_id: str = "t9") -> dict[str, Any]:
    """The details with which a send is refused, which must write nothing."""
    before = rows()
    with pytest.raises(QuotaExceeded) as refused:
        send(asker, thread, turn_id)
    assert rows() == before, "a refused send wrote something"
    return refused.value.details


def rows() -> tuple[int, ...]:
    return tuple(model._default_manager.count() for model in (Thread, Turn, Message))


def wait_behind(asker: Scope, thread: uuid.UUID, turn_id: str) -> StoredTurn | None:
    message = NewUserMessage(parts=text(turn_id))
    return enqueue_turn(asker, thread, turn_id, fingerprint=turn_id, request={}, user_message=message, most=9)


def passed(**gone: float) -> None:
    """Let time go by for what was counted."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE chat_quotas SET began = ARRAY(SELECT moment - %s FROM unnest(began) AS moment), day = day - %s",
            [timedelta(**gone), timedelta(**gone).days],
        )


@pytest.fixture(autouse=True)
def sound() -> Iterator[None]:
    yield
    assert_invariants()


# The races


@pytest.mark.parametrize(
    ("limit", "allowed"), [("QUOTA_LIVE_TURNS", 5), ("QUOTA_TURNS_A_MINUTE", 5), ("QUOTA_TOKENS_A_DAY", 20_000)]
)
def test_of_a_hundred_sends_at_once_exactly_five_are_admitted(
    asker: Scope, settings: Any, limit: str, allowed: int
) -> None:
    setattr(settings, f"CHAT_{limit}", allowed)
    for made in ([], [open_thread(asker, f"old {number}") for number in range(100)]):
        before = rows()
        name = "old" if made else "new"
        results = race([lambda n=n, a=name: send(asker, f"{a} {n}", f"{a} {n}") for n in range(100)])
        admitted = [turn for turn in results if isinstance(turn, StoredTurn)]
        refused = [error for error in results if isinstance(error, QuotaExceeded)]
        assert (len(admitted), len(refused)) == (5, 95)
        assert {error.details["limit"] for error in refused} == {limit.removeprefix("QUOTA_").lower()}
        after = rows()
        assert [now - then for now, then in zip(after, before, strict=True)] == [0 if made else 5, 5, 10]
        for turn in admitted:
            finish(turn)
        QuotaCounter.objects.update(began=[], tokens=0)


def test_sends_that_begin_and_end_at_once_never_go_over_the_limit_and_leave_no_place_taken(
    asker: Scope, settings: Any
) -> None:
    settings.CHAT_QUOTA_LIVE_TURNS = 3

    def chat(number: int) -> int:
        refused = 0
        for turn in range(15):
            try:
                begun = send(asker, f"thread {number}", f"turn {turn}")
            except QuotaExceeded:
                refused += 1
                continue
            assert Turn.objects.filter(status="streaming").count() <= 3
            finish(begun)
        return refused

    race([lambda n=n: chat(n) for n in range(12)])
    assert QuotaCounter.objects.get().live == []
    assert not Turn.objects.filter(status="streaming").exists()


def test_a_retry_of_an_admitted_send_is_attached_and_not_counted_again(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_TURNS_A_MINUTE = 1
    results = race([lambda: send(asker, "new", "same")] * 16)
    assert len({turn.pk for turn in results if isinstance(turn, StoredTurn)}) == 1
    assert all(isinstance(turn, StoredTurn) for turn in results)
    assert len(QuotaCounter.objects.get().began) == 1
    refusal(asker)
    first = send(asker, "new", "same")
    finish(first)
    assert send(asker, "new", "same").pk == first.pk


# Each limit


def test_live_turns_are_given_back_by_every_kind_of_end(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_LIVE_TURNS = 1
    for number, status in enumerate(
        (TurnStatus.COMPLETED, TurnStatus.STOPPED, TurnStatus.INTERRUPTED, TurnStatus.FAILED)
    ):
        turn = send(asker, f"thread {number}")
        told = refusal(asker)
        assert told == {"limit": "live_turns", "allowed": 1, "used": 1, "resets_at": None, "retry_after": 2}
        finish(turn, status=status)
        finish(turn)  # the second end of a turn ends nothing
        assert QuotaCounter.objects.get().live == []


def test_turns_of_a_minute_are_told_when_the_next_may_begin(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_TURNS_A_MINUTE = 2
    finish(send(asker, "one"))
    passed(seconds=40)
    finish(send(asker, "two"))
    told = refusal(asker)
    assert (told["limit"], told["allowed"], told["used"]) == ("turns_a_minute", 2, 2)
    assert 15 <= told["retry_after"] <= 20
    assert 14 <= (told["resets_at"] - datetime.now(UTC)).total_seconds() <= 21
    passed(seconds=21)
    send(asker, "three")
    assert len(QuotaCounter.objects.get().began) == 2, "what was more than a minute ago is forgotten"


def test_tokens_are_reserved_by_live_turns_and_settled_at_their_end(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_TOKENS_A_DAY, settings.CHAT_QUOTA_TOKENS_RESERVED = 1000, 400
    turns = [send(asker, f"thread {number}") for number in range(3)]
    told = refusal(asker)
    assert (told["limit"], told["allowed"], told["used"], told["resets_at"]) == ("tokens_a_day", 1000, 1200, None)
    for turn in turns:
        finish(turn, usage=UsageFigures(source="reported", total_tokens=10))
    assert QuotaCounter.objects.get().tokens == 30
    finish(send(asker, "big"), usage=UsageFigures(source="estimated", total_tokens=5000))
    told = refusal(asker)
    assert told["used"] == 5030
    assert told["resets_at"].time() == datetime.min.time()
    assert told["resets_at"] > datetime.now(UTC)
    assert 0 < told["retry_after"] <= 24 * 3600
    passed(days=1)
    finish(send(asker, "tomorrow"), usage=UsageFigures(source="reported", total_tokens=7))
    counter = QuotaCounter.objects.get()
    assert (counter.tokens, counter.day) == (7, datetime.now(UTC).date())


def test_a_turn_that_runs_over_midnight_counts_for_the_day_on_which_it_ends(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_TOKENS_A_DAY = 100
    finish(send(asker, "yesterday"), usage=UsageFigures(source="reported", total_tokens=90))
    turn = send(asker, "late")
    passed(days=1)
    finish(turn, usage=UsageFigures(source="reported", total_tokens=20))
    assert QuotaCounter.objects.get().tokens == 20


def test_more_tokens_than_a_column_holds_cost_no_answer(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_LIVE_TURNS = 5
    for number in range(2):
        assert finish(send(asker, f"{number}"), usage=UsageFigures(source="reported", total_tokens=LARGEST))
    assert QuotaCounter.objects.get().tokens == LARGEST


def test_usage_that_cannot_be_written_gives_the_place_back(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_LIVE_TURNS = 1
    assert finish(send(asker, "odd"), usage=UsageFigures(source="no such source"))
    assert TokenUsage.objects.get().source == "missing"
    send(asker, "next")


def test_of_several_limits_the_one_that_lasts_longest_is_told(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_LIVE_TURNS = settings.CHAT_QUOTA_TURNS_A_MINUTE = 1
    settings.CHAT_QUOTA_TOKENS_A_DAY = 10
    turn = send(asker, "one")
    finish(turn, usage=UsageFigures(source="reported", total_tokens=10))
    told = refusal(asker)
    assert (told["limit"], told["used"]) == ("tokens_a_day", 10)
    assert told["resets_at"] is not None, "none are reserved"
    settings.CHAT_QUOTA_TOKENS_A_DAY = 1_000_000
    assert refusal(asker)["limit"] == "turns_a_minute"


def test_other_refusals_come_first(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_LIVE_TURNS = 1
    deleted = open_thread(asker, "deleted")
    delete_thread(asker, deleted)
    send(asker, "busy")
    with pytest.raises(ThreadBusy):
        send(asker, "busy", "t2")
    with pytest.raises(ThreadNotFound):
        send(asker, "deleted")


def test_users_do_not_use_up_what_others_may(asker: Scope, settings: Any) -> None:
    other = Scope(UserFactory.create().pk)
    settings.CHAT_QUOTA_LIVE_TURNS = 2
    for name in ("deleted by the host", "one"):
        send(other, name)
    Thread.objects.filter(client_id="deleted by the host").delete()
    settings.CHAT_QUOTA_LIVE_TURNS = 1
    theirs = QuotaCounter.objects.filter(user=other.user_id)
    before = list(theirs.values())
    mine = send(asker, "mine")
    assert refusal(asker)["used"] == 1
    finish(mine)
    assert list(theirs.values()) == before
    assert refusal(other)["used"] == 1, "of which one was left behind"


# Queued turns


def test_a_queued_turn_counts_when_it_begins_and_waits_where_it_may_not(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_TURNS_A_MINUTE = 2
    first = send(asker, "thread")
    thread = find_thread(asker, "thread")
    queued = wait_behind(asker, thread, "queued")
    assert queued
    assert len(QuotaCounter.objects.get().began) == 1
    finish(first)
    other = send(asker, "other")
    assert promote(thread, "me") is None
    assert Turn.objects.get(pk=queued.pk).status == "queued"
    assert waiting_threads() == [thread]
    finish(other)
    passed(seconds=61)
    begun = promote(thread, "me")
    assert begun
    assert begun.pk == queued.pk
    counter = QuotaCounter.objects.get()
    assert (counter.live, len(counter.began)) == ([queued.pk], 1)


def test_turns_that_are_promoted_at_once_go_over_no_limit(asker: Scope, settings: Any) -> None:
    threads = []
    for number in range(12):
        first = send(asker, f"thread {number}")
        thread = find_thread(asker, f"thread {number}")
        wait_behind(asker, thread, "queued")
        finish(first)
        threads.append(thread)
    settings.CHAT_QUOTA_LIVE_TURNS = 4
    begun = race([lambda t=thread: promote(t, "me") for thread in threads])
    assert sum(isinstance(turn, StoredTurn) for turn in begun) == 4
    assert Turn.objects.filter(status="streaming").count() == 4


# Switching on and off


def test_a_place_that_a_deleted_turn_left_taken_is_given_back(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_LIVE_TURNS = 1
    turn = send(asker, "deleted by the host")
    Thread.objects.all().delete()
    assert QuotaCounter.objects.get().live == [turn.pk]
    other = Scope(UserFactory.create().pk)
    send(other, "live")
    send(asker, "next")
    refusal(asker)


def test_a_turn_that_began_before_there_were_quotas_holds_no_place(asker: Scope, settings: Any) -> None:
    before = send(asker, "before")
    settings.CHAT_QUOTA_LIVE_TURNS = 1
    during = send(asker, "during")
    finish(before)
    refusal(asker)
    settings.CHAT_QUOTA_LIVE_TURNS = 0
    finish(during)  # by a process that knows of no quotas
    assert QuotaCounter.objects.get().live == [during.pk]
    settings.CHAT_QUOTA_LIVE_TURNS = 1
    send(asker, "after")


def test_without_quotas_nothing_is_counted(asker: Scope) -> None:
    finish(send(asker, "thread"))
    assert not QuotaCounter.objects.exists()


def for_user(user_id: Any, limits: Limits) -> Limits:
    """Nobody is limited but one."""
    return replace(limits, live_turns=2) if user_id == limited[0] else Limits()


limited: list[Any] = []


def test_a_function_of_the_host_gives_each_user_limits_of_their_own(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_LIVE_TURNS = 1
    settings.CHAT_QUOTA_FOR_USER = f"{__name__}.for_user"
    limited[:] = [asker.user_id]
    for number in range(2):
        send(asker, f"thread {number}")
    assert refusal(asker)["allowed"] == 2
    somebody = Scope(UserFactory.create().pk)
    for number in range(4):
        send(somebody, f"thread {number}")


def test_the_check_names_a_quota_that_is_none(settings: Any) -> None:
    settings.CHAT_QUOTA_LIVE_TURNS = -1
    settings.CHAT_QUOTA_FOR_USER = "no.such.function"
    assert [message.id for message in run_checks(tags=["chat"])] == ["chat.E020"] * 2
