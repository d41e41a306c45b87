from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from chat.models import Thread, TokenUsage
from tests.factories import ThreadFactory, TurnFactory
from tests.migrations import migrate, migrated_again

__all__ = ["migrated_again"]

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE_USAGE_KEY = "0003_one_message_a_turn_and_role"
USAGE_KEY = "0004_one_usage_row_a_message"
BEFORE_MESSAGE_KEY = "0002_database_foreign_keys"


def execute(statement: str, *params: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall() if cursor.description else []


def is_valid(index: str) -> bool | None:
    """Whether an index can be used; None when there is none."""
    found = execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", index)
    return found[0][0] if found else None


def message_of(thread: Thread, role: str, turn_id: str | None = None) -> int:
    """A message as the tables of then have it; its id. The model of today knows columns that are still to come."""
    made = execute(
        "INSERT INTO chat_messages (thread_id, role, turn_id) VALUES (%s, %s, %s) RETURNING id",
        thread.pk,
        role,
        turn_id,
    )
    return int(made[0][0])


def usage_twice() -> tuple[int, int]:
    """Two usage rows of one message, the second one with other figures; their ids."""
    thread = ThreadFactory.create()
    message = message_of(thread, "assistant")
    rows = [
        TokenUsage.objects.create(message_id=message, thread=thread, total_tokens=tokens, source="reported")
        for tokens in (10, 20)
    ]
    return rows[0].pk, rows[1].pk


def test_all_migrations_go_back_and_forth() -> None:
    migrate("zero")
    tables = connection.introspection.table_names()
    assert not [table for table in tables if table.startswith(("chat_", "copilot_", "token_"))]
    migrate(None)
    executor = MigrationExecutor(connection)
    assert not executor.migration_plan(executor.loader.graph.leaf_nodes())


def test_a_migration_outside_a_transaction_may_be_run_again_when_its_work_is_done_but_not_recorded() -> None:
    migrate(USAGE_KEY)
    for name in (BEFORE_USAGE_KEY, USAGE_KEY):
        execute("DELETE FROM django_migrations WHERE app = 'chat' AND name = %s", name)
    migrate(None)
    assert is_valid("chat_messages_thread_turn_role_key")
    assert is_valid("token_usage_message_key")


def test_duplicate_usage_is_removed_first_and_its_number_told(capsys: pytest.CaptureFixture[str]) -> None:
    migrate(BEFORE_USAGE_KEY)
    kept = [usage_twice()[0] for _ in range(3)]
    TokenUsage.objects.create(total_tokens=1, source="missing")
    TokenUsage.objects.create(total_tokens=1, source="missing")

    migrate(None)

    assert "removed 3 duplicate rows" in capsys.readouterr().out
    assert sorted(TokenUsage.objects.exclude(message=None).values_list("pk", flat=True)) == kept
    assert TokenUsage.objects.filter(message=None).count() == 2
    with pytest.raises(IntegrityError, match="token_usage_message_key"):
        TokenUsage.objects.create(message_id=TokenUsage.objects.exclude(message=None)[0].message_id, source="missing")


def test_an_invalid_index_that_a_killed_build_left_is_dropped_and_built_anew() -> None:
    migrate(BEFORE_USAGE_KEY)
    usage_twice()
    with pytest.raises(IntegrityError):
        execute(
            "CREATE UNIQUE INDEX CONCURRENTLY token_usage_message_key"
            " ON token_usage (message_id) WHERE message_id IS NOT NULL"
        )
    assert is_valid("token_usage_message_key") is False

    migrate(None)
    assert is_valid("token_usage_message_key") is True


def test_messages_that_collide_stop_the_migration_and_stay() -> None:
    migrate(BEFORE_MESSAGE_KEY)
    turn = TurnFactory.create()
    rows = [message_of(turn.thread, "user", turn.turn_id) for _ in range(2)]
    with pytest.raises(IntegrityError):
        migrate(None)
    execute("DELETE FROM chat_messages WHERE id = %s", rows[1])
    migrate(None)
    assert is_valid("chat_messages_thread_turn_role_key") is True


def test_an_index_build_gives_up_instead_of_waiting_for_a_long_writer() -> None:
    migrate(BEFORE_USAGE_KEY)
    other = connections.create_connection("default")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("INSERT INTO token_usage (source) VALUES ('missing')")
        with pytest.raises(OperationalError, match="lock timeout"):
            migrate(None)
        other.rollback()
    finally:
        other.close()
    migrate(None)
    assert is_valid("token_usage_message_key") is True
    assert execute("SHOW lock_timeout") == [("0",)]


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("chat_threads", "chat_threads_owner_recent_idx"),
        ("chat_threads", "chat_threads_owner_client_id_key"),
        ("chat_turns", "chat_turns_thread_turn_id_key"),
        ("chat_turns", "chat_turns_copilot_chat_turn_id_key"),
        ("chat_turns", "chat_turns_busy_thread_key"),
        ("chat_turns", "chat_turns_busy_copilot_chat_key"),
        ("chat_turns", "chat_turns_heartbeat_idx"),
        ("chat_messages", "chat_messages_thread_turn_role_key"),
        ("chat_messages", "chat_messages_current_idx"),
        ("token_usage", "token_usage_message_key"),
        ("token_usage", "token_usage_turn_key"),
    ],
)
def test_an_index_of_the_design_is_there_under_its_name(table: str, name: str) -> None:
    assert execute("SELECT tablename FROM pg_indexes WHERE indexname = %s", name) == [(table,)]
    assert is_valid(name)


def test_a_turn_belongs_to_exactly_one_conversation() -> None:
    with pytest.raises(IntegrityError, match="chat_turns_one_conversation"):
        execute("INSERT INTO chat_turns (turn_id, fingerprint) VALUES ('t', 'f')")


@pytest.mark.parametrize(
    ("table", "column", "action"),
    [
        ("chat_messages", "thread_id", "c"),
        ("chat_turns", "thread_id", "c"),
        ("chat_turns", "copilot_chat_id", "c"),
        ("chat_turns", "replaces_id", "n"),
        ("token_usage", "message_id", "n"),
        ("token_usage", "turn_id", "n"),
        ("token_usage", "thread_id", "n"),
        ("chat_stream_events", "turn_id", "c"),
    ],
)
def test_the_database_itself_deletes_or_lets_go(table: str, column: str, action: str) -> None:
    found = execute("SELECT confdeltype FROM pg_constraint WHERE conname = %s", f"{table}_{column}_fkey")
    assert found == [(action,)]
