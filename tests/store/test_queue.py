"""Who waits in a thread, in which order, and when it is their time."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser

from chat.access.scopes import scope_of
from chat.errors import QueueFull, ThreadNotFound
from chat.models import Turn
from chat.store.leases import take_expired
from chat.store.queue import abandoned_threads, abandoned_turns, may_go_on, promote, queued_turns, waiting_threads
from chat.store.quotas import Limits
from chat.store.scope import Scope
from chat.store.threads import delete_thread, open_thread
from chat.store.turns import StoredTurn
from tests.factories import TurnFactory
from tests.store.conversations import changed, everything, wait_behind
from tests.store.test_turns import begin, finish

pytestmark = pytest.mark.django_db


@pytest.fixture
def thread(asker: Scope) -> uuid.UUID:
    """A thread with an ended turn and a live one, beside one in which two turns wait already."""
    other = open_thread(asker, "other")
    finish(begin(asker, other, "t0"))
    begin(asker, other, "t1")
    for turn_id in ("t2", "t3"):
        wait_behind(asker, other, turn_id)
    thread = open_thread(asker, "ours")
    finish(begin(asker, thread, "t0"))
    begin(asker, thread, "t1")
    return thread


def end_live(asker: Scope, thread: uuid.UUID) -> None:
    """As a process does that dies before it moves the queue on."""
    Turn.objects.filter(thread=thread, status="streaming").update(status="stopped", finished_at="2026-01-01T00:00Z")


def names(turns: list[StoredTurn]) -> list[str]:
    return [turn.turn_id for turn in turns]


def test_a_turn_waits_behind_the_others_unless_it_is_the_first(asker: Scope, thread: uuid.UUID) -> None:
    wait_behind(asker, thread, "t2")
    wait_behind(asker, thread, "t3")
    assert wait_behind(asker, thread, "t4", first=True).created
    assert names(queued_turns(asker, thread)) == ["t4", "t2", "t3"]
    order = []
    while waiting := queued_turns(asker, thread):
        assert promote(thread, "p") is None, "one at a time"
        end_live(asker, thread)
        Turn.objects.filter(thread=thread).update(heartbeat_at="2026-01-01T00:00:00Z")
        begun = promote(thread, "p")
        assert begun
        assert begun.created
        assert take_expired(3600, "another") == [], "its lease begins now"
        order.append(begun.turn_id)
        assert names(queued_turns(asker, thread)) == names(waiting[1:])
    assert order == ["t4", "t2", "t3"]
    turn = Turn.objects.get(thread=thread, turn_id="t3")
    assert (turn.status, turn.epoch, turn.owner) == ("streaming", 1, "p")
    assert turn.started_at is not None


def test_a_turn_waits_only_for_one_of_its_own_thread(asker: Scope, thread: uuid.UUID) -> None:
    end_live(asker, thread)
    before = everything()
    assert wait_behind(asker, thread, "t2") is None
    assert wait_behind(asker, open_thread(asker, "new"), "t2") is None
    assert changed(before) == (set(), Counter(Thread=1))


def test_a_queue_holds_as_many_as_it_may_however_many_wait_elsewhere(asker: Scope, thread: uuid.UUID) -> None:
    wait_behind(asker, thread, "t2", most=1)
    with pytest.raises(QueueFull):
        wait_behind(asker, thread, "t3", most=1)
    assert wait_behind(asker, thread, "t2", most=1) is None, "it is there"


def test_nobody_waits_or_sees_who_waits_in_a_thread_of_somebody_else(
    asker: Scope, thread: uuid.UUID, other_user: AbstractUser
) -> None:
    wait_behind(asker, thread, "t2")
    other = scope_of(other_user)
    open_thread(other, "mine")
    before = everything()
    with pytest.raises(ThreadNotFound):
        wait_behind(other, thread, "t3")
    assert queued_turns(other, thread) == []
    assert changed(before) == (set(), Counter())


def test_a_thread_may_go_on_when_a_turn_waits_in_it_and_none_is_busy(asker: Scope, thread: uuid.UUID) -> None:
    end_live(asker, thread)
    assert not may_go_on(thread)
    assert promote(thread, "p") is None
    live = begin(asker, thread, "t2")
    assert not may_go_on(thread)
    wait_behind(asker, thread, "t3")
    assert not may_go_on(thread)
    finish(live)
    assert may_go_on(thread)
    delete_thread(asker, thread)
    before = everything()
    assert not may_go_on(thread)
    assert promote(thread, "p") is None
    assert changed(before) == (set(), Counter())


def test_a_sweeper_finds_any_of_the_threads_that_wait_for_nobody(asker: Scope, thread: uuid.UUID) -> None:
    assert waiting_threads() == [], "the one in which turns wait is busy"
    left = {thread, open_thread(asker, "left"), open_thread(asker, "behind")}
    deleted = open_thread(asker, "deleted")
    for one in {*left, deleted}:
        if one != thread:
            begin(asker, one, "t1")
        for turn_id in ("t2", "t3"):
            wait_behind(asker, one, turn_id)
        end_live(asker, one)
    delete_thread(asker, deleted)
    assert sorted(waiting_threads()) == sorted(left)
    assert {tuple(waiting_threads(limit=1)) for _ in range(60)} == {(one,) for one in left}


def test_what_is_ended_with_a_deleted_thread_is_what_is_busy_in_it(asker: Scope, thread: uuid.UUID) -> None:
    wait_behind(asker, thread, "t2")
    other = open_thread(asker, "other")
    delete_thread(asker, other)
    assert (abandoned_threads(), abandoned_turns(thread)) == ([other], [])
    delete_thread(asker, thread)
    assert (sorted(abandoned_threads()), names(abandoned_turns(thread))) == (sorted([other, thread]), ["t1"])
    end_live(asker, thread)
    assert (abandoned_threads(), abandoned_turns(thread)) == ([other], [])


# Whose quota a turn that waits needs


def of_user(user_id: Any, limits: Limits) -> Limits:
    """Only one user has limits."""
    return replace(limits, live_turns=1) if user_id in limited else Limits()


limited: list[Any] = []


def test_a_turn_that_waits_begins_by_the_limits_of_its_own_user(
    asker: Scope, thread: uuid.UUID, other_user: AbstractUser, settings: Any
) -> None:
    settings.CHAT_QUOTA_FOR_USER = f"{__name__}.of_user"
    limited[:] = [other_user.pk]
    begin(scope_of(other_user), open_thread(scope_of(other_user), "mine"))  # has no place left
    TurnFactory.create(thread_id=thread, user=other_user)
    Turn.objects.filter(status="queued").update(user=other_user)
    wait_behind(asker, thread, "t2")
    Turn.objects.filter(thread=thread, turn_id="t2").update(user=other_user)
    wait_behind(asker, thread, "t3", first=True)
    end_live(asker, thread)
    begun = promote(thread, "p")
    assert begun
    assert begun.turn_id == "t3"
    finish(begun)
    assert promote(thread, "p") is None
    limited.clear()
    assert promote(thread, "p"), "a limit less"
    end_live(asker, thread)
    assert promote(thread, "p") is None, "and nobody waits"
