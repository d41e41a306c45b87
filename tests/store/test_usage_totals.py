"""Totals of usage: what is summed, for whom, and by which index."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat.errors import InvalidInput, NotFound
from chat.models import CopilotChat, Thread, TokenUsage
from chat.protocol.usage import COUNTS, LARGEST
from chat.protocol.usage_csv import csv_pieces
from chat.store.scope import Scope
from chat.store.usage_totals import Totals, chosen_user, usage_pages, usage_totals
from tests.factories import ThreadFactory, TurnFactory, UsageFactory, UserFactory

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def share(**figures: int) -> dict[str, int]:
    return dict.fromkeys(COUNTS, 0) | figures


def used(thread: Thread, *, at: datetime = NOON, **figures: Any) -> TokenUsage:
    usage: TokenUsage = UsageFactory.create(turn=TurnFactory.create(thread=thread, model="asked"), **figures)
    TokenUsage.objects.filter(pk=usage.pk).update(created_at=at)
    return usage


def ask(asker: Scope, *group: str, **chosen: Any) -> list[dict[str, Any]]:
    """Totals of that November: of the asker's, unless told otherwise."""
    since, until = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    return usage_totals(
        asker, Totals(**({"since": since, "until": until, "user": asker.user_id, "group": group} | chosen))
    )


@pytest.fixture
def thread(user: Any) -> Thread:
    return ThreadFactory.create(owner=user)  # type: ignore[no-any-return]


def test_totals_are_summed_by_day_in_utc_and_only_the_askers_own(asker: Scope, thread: Thread) -> None:
    used(thread, cost_micros=7)
    used(thread, cost_micros=5, cached_tokens=3, source="estimated")
    used(thread, at=datetime(2026, 11, 1, tzinfo=UTC))
    used(thread, at=datetime(2026, 11, 21, 0, 30, tzinfo=UTC), source="missing")
    used(thread, at=datetime(2026, 10, 31, 23, 59, tzinfo=UTC))
    used(thread, at=datetime(2026, 12, 1, tzinfo=UTC))
    used(ThreadFactory.create())
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL timezone = 'America/New_York'")
    earliest, first, second = ask(asker, "day")
    assert (earliest["day"], earliest["turns"]) == ("2026-11-01", 1)
    assert first == {
        "day": "2026-11-20",
        "turns": 2,
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "total_tokens": 30,
        "cached_tokens": 3,
        "reasoning_tokens": 0,
        "cost_micros": 12,
        "estimated": 1,
        "missing": 0,
    }
    assert (second["day"], second["turns"], second["missing"]) == ("2026-11-21", 1, 1)
    (whole,) = ask(asker)
    assert (whole["turns"], whole["total_tokens"]) == (4, 60)
    (nothing,) = ask(asker, model="no such model")
    assert (nothing["turns"], nothing["total_tokens"]) == (0, 0)


def test_a_turn_counts_for_each_model_with_its_share(asker: Scope, thread: Thread) -> None:
    breakdown = {"big": share(total_tokens=12, cost_micros=9), "small": share(total_tokens=3)}
    used(thread, model_breakdown=breakdown)
    used(thread, model_breakdown={"small": share(total_tokens=1)})
    used(thread, source="estimated")  # nobody said which model: the one that was asked for
    figures = {
        total["model"]: (total["turns"], total["total_tokens"], total["cost_micros"]) for total in ask(asker, "model")
    }
    assert figures == {"asked": (1, 15, 0), "big": (1, 12, 9), "small": (2, 4, 0)}
    (small,) = ask(asker, "day", model="small")
    assert (small["turns"], small["total_tokens"]) == (2, 4)


@pytest.mark.parametrize("odd", [["odd"], 7, {"m": 7}, {"m": {"total_tokens": "many"}}, {"m": {"total_tokens": 1e40}}])
def test_a_breakdown_that_nobody_can_read_breaks_no_total(asker: Scope, thread: Thread, odd: Any) -> None:
    used(thread, model_breakdown=odd)
    assert sum(total["turns"] for total in ask(asker, "day", "model")) == 1


def test_sums_beyond_what_a_column_holds_are_cut(asker: Scope, thread: Thread) -> None:
    for _ in range(2):
        used(thread, total_tokens=LARGEST)
    assert ask(asker, "day")[0]["total_tokens"] == LARGEST


def test_a_thread_is_named_by_either_id_and_counts_after_it_was_deleted(asker: Scope, thread: Thread) -> None:
    Thread.objects.filter(pk=thread.pk).update(client_id="mine", deleted_at=NOON)
    used(thread)
    used(ThreadFactory.create(owner=thread.owner))
    for name in (str(thread.pk), thread.pk.hex, "mine"):
        (total,) = ask(asker, "thread", thread=name)
        assert (total["thread"], total["turns"]) == (str(thread.pk), 1)
    assert ask(asker, "thread", thread=str(uuid.uuid4())) == []
    chat = CopilotChat.objects.create(user=thread.owner)
    TokenUsage.objects.filter(thread=thread).update(thread=None, copilot_chat=chat)
    assert ask(asker, "thread", thread=str(chat.pk))[0]["thread"] == str(chat.pk)
    TokenUsage.objects.update(thread=None, copilot_chat=None)
    assert [(total["thread"], total["turns"]) for total in ask(asker, "thread")] == [("", 2)]


def test_only_who_may_see_all_is_told_of_others(asker: Scope, thread: Thread) -> None:
    other = UserFactory.create()
    used(thread)
    used(ThreadFactory.create(owner=other))
    for name in (str(other.pk), "all", "999999", "nonsense"):
        with pytest.raises(NotFound):
            chosen_user(asker, name)
    with pytest.raises(NotFound):
        ask(asker, user=None)
    with pytest.raises(NotFound):
        ask(asker, user=other.pk)
    assert chosen_user(asker, None) == chosen_user(asker, str(asker.user_id)) == asker.user_id

    superuser = Scope(other.pk, all_usage=True)
    assert ask(superuser, user=chosen_user(superuser, "all"))[0]["turns"] == 2
    assert ask(superuser, user=chosen_user(superuser, str(asker.user_id)))[0]["turns"] == 1
    by_user = ask(superuser, "user", user=None)
    assert {total["user"] for total in by_user} == {str(other.pk), str(asker.user_id)}
    for name in ("nonsense", str(2**70), "-1x"):
        with pytest.raises(InvalidInput):
            chosen_user(superuser, name)


def test_pages_hold_every_group_once_in_order(asker: Scope, thread: Thread) -> None:
    for number in range(7):
        names = {f"model {number % 3}": share(total_tokens=1), "": share(total_tokens=1)}
        used(thread, at=NOON + timedelta(days=number // 2), model_breakdown=names)
    totals = Totals(NOON - timedelta(days=9), NOON + timedelta(days=9), asker.user_id, ("day", "model", "thread"))
    whole = usage_totals(asker, totals)
    assert len(whole) == 11
    assert whole == sorted(whole, key=lambda total: (total["day"], total["model"]))
    for size in (1, 2, 3, 11, 12):
        pages = list(usage_pages(asker, totals, size))
        assert [total for page in pages for total in page] == whole


def test_a_csv_has_no_cell_that_a_spreadsheet_takes_for_a_formula(asker: Scope, thread: Thread) -> None:
    evil = ["=HYPERLINK(1)", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1+1", "\r=1", 'a"b,c', "plain\nline"]
    used(thread, model_breakdown={name: share(total_tokens=1, cost_micros=1_234_567) for name in evil})
    totals = Totals(NOON, NOON + timedelta(days=1), asker.user_id, ("day", "model"))
    head, *lines = b"".join(csv_pieces(totals.group, usage_pages(asker, totals, 3))).decode().splitlines()
    assert head == (
        "day,model,turns,prompt_tokens,completion_tokens,total_tokens,cached_tokens,reasoning_tokens,cost_micros,"
        "cost_usd,estimated,missing"
    )
    assert len(lines) == len(evil)
    for line in lines:
        day, _, model = line.partition(",")
        assert day == "2026-11-20"
        assert model.lstrip('"')[0] not in "=+-@\t\r", line
        assert line.endswith(",1,0,0,1234567,1.234567,0,0")


def plan(asker: Scope, totals: Totals) -> str:
    with CaptureQueriesContext(connection) as queries:
        usage_totals(asker, totals)
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + queries[0]["sql"])
        return "\n".join(line for (line,) in cursor.fetchall())


@pytest.mark.parametrize("group", [("day",), ("day", "model", "thread")])
def test_a_users_totals_are_read_by_their_index_and_everybodys_by_time(asker: Scope, group: tuple[str, ...]) -> None:
    others = get_user_model().objects.bulk_create(UserFactory.build_batch(300))
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO token_usage (user_id, source, total_tokens, created_at)
            SELECT (%s::int[])[1 + n %% 301], 'reported', n, '2026-01-01Z'::timestamptz + n * interval '5 minutes'
              FROM generate_series(1, 100000) n
            """,
            [[asker.user_id, *(other.pk for other in others)]],
        )
        cursor.execute("ANALYZE token_usage")
    month = NOON - timedelta(days=30)
    own = plan(asker, Totals(month, NOON, asker.user_id, group))
    assert "token_usage_user_created_idx" in own, own
    assert "Seq Scan on token_usage" not in own
    everybody = plan(Scope(asker.user_id, all_usage=True), Totals(NOON - timedelta(days=2), NOON, None, group))
    # PostgreSQL 18 may also skip from user to user in their index.
    assert "Seq Scan on token_usage" not in everybody, everybody
