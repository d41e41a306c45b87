"""What is read of the mirror is found by its index, however long the chats are and however a statement was planned."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from psycopg.sql import Literal

from chat.models import ReconcileMode
from chat.store import mirror
from chat.store.reconcile import reconcile
from chat.store.reconcile_range import ALL
from chat.store.scope import Scope
from chat.store.transcript import FROM_MIRROR
from tests.copilot.chats import chat_with, element
from tests.copilot.reconciling import execute

pytestmark = pytest.mark.django_db
SEQ, STREAM = "copilot_chat_messages_seq_idx", "copilot_chat_messages_stream_idx"
KEY = "copilot_chat_messages_chat_message_key"


@pytest.fixture(params=["custom, as backfilled", "custom, as written", "generic, as backfilled"])
def planned(request: pytest.FixtureRequest, asker: Scope, settings: Any) -> Iterator[uuid.UUID]:
    """One long chat among many short ones: its rows together, as the backfill leaves them, or among those of others, as
    they are written. Statements are planned with their values, or for any.
    """
    kind, _, order = request.param.partition(", ")
    settings.COPILOT_MESSAGES_PHASE = "mirror_only"
    long = chat_with(asker, mirrored=False)
    execute("INSERT INTO copilot_chats (user_id) SELECT %s FROM generate_series(1, 2000)", asker.user_id)
    execute(
        f"""
        INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, stream_id, created_at)
        SELECT id, 'm' || n, n, 'user', '{{}}', 's' || n / 2, now()
          FROM copilot_chats, generate_series(1, CASE WHEN id = %s THEN 10000 ELSE 5 END) n
         ORDER BY {"id, n" if order == "as backfilled" else "n, id"}
        """,
        long,
    )
    execute("ANALYZE copilot_chats, copilot_chat_messages")
    execute(f"SET plan_cache_mode = force_{kind}_plan")
    yield long
    execute("RESET plan_cache_mode")


def plan(statement: str, **values: tuple[str, Any]) -> str:
    """How the server runs a statement of the store that was prepared; ``values``: its parameters and their types."""
    names = list(values)
    numbered = statement % {name: f"${place}" for place, name in enumerate(names, 1)}
    execute(f"PREPARE looked_at ({', '.join(values[name][0] for name in names)}) AS {numbered}")
    try:
        given = [Literal(values[name][1]).as_string(None) for name in names]  # EXECUTE takes no parameters
        found = execute(f"EXPLAIN EXECUTE looked_at ({', '.join(given)})")
        return "\n".join(line for (line,) in found)
    finally:
        execute("DEALLOCATE looked_at")


def test_the_last_messages_are_read_from_the_end_of_their_index(asker: Scope, planned: uuid.UUID) -> None:
    for before in (None, "m5000"):
        found = plan(
            FROM_MIRROR,
            chat=("uuid", planned),
            user=("text", str(asker.user_id)),
            before=("text", before),
            limit=("int", 50),
        )
        assert f"Index Scan Backward using {SEQ}" in found, found
        assert found.count("Sort Key") == found.startswith("Sort"), found  # of the page, not of the chat
        assert "Seq Scan" not in found


def test_a_transcript_comes_in_the_order_of_its_index(planned: uuid.UUID) -> None:
    found = plan(
        """
        SELECT content FROM copilot_chat_messages WHERE chat_id = %(chat)s AND deleted_at IS NULL ORDER BY seq LIMIT 100
        """,
        chat=("uuid", planned),
    )
    assert f"Index Scan using {SEQ}" in found, found
    assert "Sort" not in found


def test_the_messages_of_a_stream_are_found_by_their_index(planned: uuid.UUID) -> None:
    found = plan(
        "SELECT * FROM copilot_chat_messages WHERE chat_id = %(chat)s AND stream_id = %(stream)s",
        chat=("uuid", planned),
        stream=("text", "s7"),
    )
    assert STREAM in found, found


def test_an_append_reads_one_row_of_the_chat(planned: uuid.UUID) -> None:
    found = plan(
        mirror.APPEND,
        chat=("uuid", planned),
        elements=("jsonb", json.dumps([element("new")])),
        place=("int", 10_000),
        model=("text", "large"),
        stream_id=("text", None),
        tokens_in=("int", None),
        tokens_out=("int", None),
    )
    assert re.search(rf"Index (Only )?Scan Backward using {SEQ}", found), found
    assert "Seq Scan" not in found


def test_comparing_looks_chats_and_rows_up_by_their_keys(planned: uuid.UUID) -> None:
    """Also where nobody has counted the rows yet."""
    execute("UPDATE copilot_chat_messages SET content = '{\"id\": 1}' WHERE seq = 3")
    with CaptureQueriesContext(connection) as queries:
        for _ in reconcile(ALL, ReconcileMode.CHECK):
            pass
    statements = [one["sql"] for one in queries if "copilot_elements" in one["sql"]]
    assert len(statements) > 10
    execute("SET LOCAL enable_seqscan = off")
    for statement in (statements[0], statements[1]):
        found = "\n".join(line for (line,) in execute(f"EXPLAIN {statement}".replace("%", "%%")))
        assert "copilot_chats_pkey" in found
        assert KEY in found
        assert "Seq Scan" not in found
