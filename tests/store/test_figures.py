"""What a scrape reads costs what is unended, however much has ended."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from chat.models import ReconcileRun
from chat.store.figures import STANDING, standing
from tests.factories import ThreadFactory, TurnFactory

pytestmark = pytest.mark.django_db


def test_a_scrape_reads_small_indexes_and_no_history() -> None:
    thread = ThreadFactory.create()
    TurnFactory.create(status="streaming")
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO chat_turns (thread_id, turn_id, fingerprint, status)
            SELECT %s, 't' || n, '', 'completed' FROM generate_series(1, 20000) n
            """,
            [thread.pk],
        )
        cursor.execute("INSERT INTO copilot_chats (user_id) SELECT %s FROM generate_series(1, 5000)", [thread.owner.pk])
        cursor.execute("ANALYZE chat_turns, copilot_chats")
        cursor.execute(f"EXPLAIN {STANDING}", {"lease": 30.0, "modes": ["check"]})
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Seq Scan on chat_turns" not in plan, plan
    assert "Seq Scan on copilot_chats" not in plan, plan
    assert ("chat_turns", "streaming", 1) in standing(30.0)


def test_a_figure_counts_what_it_names_and_nothing_beside_it() -> None:
    now = timezone.now()
    for status, minutes in (("queued", 5), ("queued", 1), ("streaming", 2), ("streaming", 0), ("awaiting_approval", 9)):
        ago = now - timedelta(minutes=minutes)
        TurnFactory.create(status=status, created_at=ago, heartbeat_at=ago)
    TurnFactory.create(status="queued", created_at=now - timedelta(hours=1), thread__deleted_at=now)
    for mode, hours, is_clean in (
        ("check", 2, False),
        ("from_mirror", 1, True),
        ("check", 3, True),
        ("repair", None, None),
    ):
        finished = None if hours is None else now - timedelta(hours=hours)
        ReconcileRun.objects.create(scope="all", mode=mode, finished_at=finished, is_clean=is_clean)
    found = {(figure, label): value for figure, label, value in standing(30.0)}
    counted = [found["chat_turns", status] for status in ("queued", "streaming", "awaiting_approval")]
    assert (counted, found["chat_turns_stuck", ""]) == ([2, 2, 1], 1)
    assert 120 <= found["chat_oldest_heartbeat_seconds", ""] < 180
    assert 300 <= found["chat_oldest_queued_seconds", ""] < 360
    assert 7200 <= found["chat_mirror_check_age_seconds", ""] < 7260, "of those that were checked in full, the last"
