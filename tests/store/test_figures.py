"""What a scrape reads costs what is unended, however much has ended."""

from __future__ import annotations

import pytest
from django.db import connection

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
