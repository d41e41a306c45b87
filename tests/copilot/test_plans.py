"""The statements that every request of a copilot client makes use their index, however much there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat.store.chats import list_chats
from chat.store.copilot_turns import turn_of_stream
from chat.store.scope import Scope
from chat.store.turns import live_turn, request_stop

pytestmark = pytest.mark.django_db

FILL = """
INSERT INTO copilot_chats (user_id, title) SELECT %(user)s, 'mine' FROM generate_series(1, 2000);
INSERT INTO copilot_chats (user_id, title) SELECT %(other)s, 'theirs' FROM generate_series(1, 3000);
INSERT INTO chat_turns (copilot_chat_id, user_id, turn_id, request, fingerprint, status)
SELECT id, user_id, gen_random_uuid()::text, '{}', 'f', 'completed' FROM copilot_chats, generate_series(1, 3);
INSERT INTO chat_turns (copilot_chat_id, user_id, turn_id, request, fingerprint, status)
SELECT id, user_id, gen_random_uuid()::text, '{}', 'f', 'streaming' FROM copilot_chats WHERE title = 'theirs' LIMIT 300;
ANALYZE copilot_chats, chat_turns, chat_threads, chat_messages;
"""


@pytest.fixture
def filled(asker: Scope, other_user: AbstractUser) -> tuple[str, Any]:
    """Many chats and turns; the stream and the chat of one of the asker's."""
    with connection.cursor() as cursor:
        for statement in FILL.strip().removesuffix(";").split(";\n"):
            cursor.execute(statement, {"user": asker.user_id, "other": other_user.pk})
        cursor.execute(
            "SELECT turn_id, copilot_chat_id FROM chat_turns WHERE user_id = %s LIMIT 1 OFFSET 2999", [asker.user_id]
        )
        found: tuple[str, Any] = cursor.fetchone()
    return found


def plan_of(function: Callable[[], object]) -> str:
    with CaptureQueriesContext(connection) as queries:
        function()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {queries[0]['sql']}")
        return "\n".join(line for (line,) in cursor.fetchall())


def test_a_stream_is_found_by_its_name(asker: Scope, filled: tuple[str, Any]) -> None:
    plan = plan_of(lambda: turn_of_stream(asker, filled[0]))
    assert "chat_turns_stream_idx" in plan
    assert "Seq Scan on copilot_chats" not in plan


def test_the_live_turn_is_found_by_either_kind_of_conversation(asker: Scope, filled: tuple[str, Any]) -> None:
    for look in (lambda: live_turn(asker, filled[1]), lambda: request_stop(asker, filled[1])):
        plan = plan_of(look)
        assert "chat_turns_busy_thread_key" in plan
        assert "chat_turns_busy_copilot_chat_key" in plan
        assert "Seq Scan on chat_turns" not in plan


def test_a_page_of_the_list_reads_no_more_chats_than_it_shows(asker: Scope, filled: tuple[str, Any]) -> None:
    plan = plan_of(lambda: list_chats(asker, limit=20))
    assert "copilot_chats_activity_idx" in plan
    assert "Sort" not in plan
