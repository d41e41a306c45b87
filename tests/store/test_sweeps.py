"""What a sweeper finds: what is due and nothing else, some at a time, beside other sweepers."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from chat.models import Thread
from chat.store.approvals import overdue_turns
from chat.store.sql import rows
from chat.store.trash import purge_expired
from tests.factories import ApprovalFactory, ThreadFactory, TurnFactory
from tests.races import while_held

pytestmark = pytest.mark.django_db
PAST, FUTURE = timedelta(hours=-1), timedelta(hours=1)


def test_a_turn_is_overdue_when_a_call_that_it_still_waits_for_is() -> None:
    def waiting(**turn: object) -> int:
        made: int = TurnFactory.create(status="awaiting_approval", **turn).pk
        return made

    now = timezone.now()
    due, decided, early, stopped, ended = waiting(), waiting(), waiting(), waiting(stop_requested_at=now), waiting()
    ApprovalFactory.create(turn_id=due, expires_at=now + PAST)
    ApprovalFactory.create(turn_id=decided, expires_at=now + PAST, status="approved", decided_at=now)
    for turn in (decided, early, stopped):
        ApprovalFactory.create(turn_id=turn, expires_at=now + FUTURE)
    ApprovalFactory.create(turn_id=ended, expires_at=now + PAST)
    rows("UPDATE chat_turns SET status = 'stopped' WHERE id = %(id)s", id=ended)
    rows("UPDATE chat_turns SET model = 'x' WHERE id = %(id)s", id=due)  # lies behind the others now
    for index in ("enable_indexscan", "enable_bitmapscan"):
        rows(f"SET LOCAL {index} = off")
    assert [(turn.pk, expired) for turn, expired in overdue_turns()] == [(due, True), (stopped, False)]
    assert [turn.pk for turn, _ in overdue_turns(only=stopped)] == [stopped]
    assert [turn.pk for turn, _ in overdue_turns(only=early)] == []
    assert [turn.pk for turn, _ in overdue_turns(limit=1)] == [due], "the oldest first"


@pytest.mark.django_db(transaction=True)
def test_threads_are_purged_some_at_a_time_and_nobody_waits_for_who_purges_others() -> None:
    threads = [uuid.UUID(int=number) for number in (1, 2, 3)]
    for pk in reversed(threads):
        ThreadFactory.create(pk=pk, deleted_at="2026-01-01T00:00:00Z")
    kept = ThreadFactory.create(deleted_at=timezone.now())
    theirs, mine = while_held(
        lambda: purge_expired(deleted_days=30, idle_days=0, most=2), lambda: purge_expired(deleted_days=30, idle_days=0)
    )
    assert (sorted(theirs), mine) == (threads[:2], threads[2:])
    assert list(Thread.objects.values_list("pk", flat=True)) == [kept.pk]
