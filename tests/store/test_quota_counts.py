"""What is counted of a user's turns, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from chat.errors import QuotaExceeded
from chat.models import QuotaCounter, Thread
from chat.store.quotas import require_quota
from chat.store.scope import Scope
from chat.store.threads import open_thread
from chat.store.turns import StoredTurn
from tests.factories import UserFactory
from tests.races import while_held
from tests.store.test_quotas import passed, refusal, send
from tests.store.test_turns import begin, finish

pytestmark = pytest.mark.django_db(transaction=True)


def test_who_may_begin_none_now_is_refused_before_anything_is_written(asker: Scope, settings: Any) -> None:
    """Not only undone: else whoever is refused all day long would fill the tables."""
    settings.CHAT_QUOTA_LIVE_TURNS = 1
    for made in (False, True):
        if made:
            open_thread(asker, "one more")
        else:
            send(asker, "one")
        before = last_number()
        refusal(asker)
        assert last_number() == before


def last_number() -> int:
    """Of the numbers that turns have had, also those that were undone."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sequence_last_value(pg_get_serial_sequence('chat_turns', 'id')::regclass)")
        return int(cursor.fetchone()[0])


def test_where_a_minute_saw_more_than_it_may_by_now_the_next_begins_when_enough_of_them_are_past(
    asker: Scope, settings: Any
) -> None:
    settings.CHAT_QUOTA_TURNS_A_MINUTE = 3
    for number in range(3):
        finish(send(asker, f"thread {number}"))
        passed(seconds=15)
    settings.CHAT_QUOTA_TURNS_A_MINUTE = 2
    assert 20 <= refusal(asker)["retry_after"] <= 30


def test_moments_are_kept_only_where_they_are_counted(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_LIVE_TURNS = 5
    for number in range(2):
        send(asker, f"thread {number}")
    assert QuotaCounter.objects.get().began == []


def test_who_is_about_to_stop_a_turn_needs_what_they_need_without_it(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_LIVE_TURNS, settings.CHAT_QUOTA_TOKENS_A_DAY = 1, 10
    settings.CHAT_QUOTA_TOKENS_RESERVED = 100
    require_quota(asker)  # who has begun nothing yet
    send(asker, "one")
    QuotaCounter.objects.update(tokens=9)
    require_quota(asker)
    QuotaCounter.objects.update(tokens=10)
    with pytest.raises(QuotaExceeded):
        require_quota(asker)


def test_to_give_a_place_back_waits_for_no_other_user(asker: Scope, settings: Any) -> None:
    settings.CHAT_QUOTA_LIVE_TURNS = 1
    send(asker, "deleted by the host")
    Thread.objects.all().delete()
    send(Scope(UserFactory.create().pk), "theirs")
    theirs = QuotaCounter.objects.exclude(user=asker.user_id)
    _, turn = while_held(lambda: theirs.select_for_update().get(), lambda: send(asker, "next"))
    assert isinstance(turn, StoredTurn)


def test_quotas_add_no_statement_to_the_begin_nor_to_the_end_of_a_turn(
    asker: Scope, settings: Any, django_assert_num_queries: Any
) -> None:
    thread = open_thread(asker, "conversation")
    for quotas in (0, 5):
        settings.CHAT_QUOTA_LIVE_TURNS = settings.CHAT_QUOTA_TURNS_A_MINUTE = quotas
        with django_assert_num_queries(1):
            turn = begin(asker, thread, f"turn {quotas}")
        with django_assert_num_queries(1):
            finish(turn)
        with django_assert_num_queries(2):
            send(asker, f"new {quotas}")
