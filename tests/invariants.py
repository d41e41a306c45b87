"""What must hold of the database after any test, whatever it did."""

from __future__ import annotations

from django.db import connection

BROKEN = {
    "a turn with two rows of one role": """
        SELECT thread_id, turn_id, role, count(*) FROM chat_messages
         WHERE turn_id IS NOT NULL GROUP BY 1, 2, 3 HAVING count(*) > 1""",
    "a thread with two busy turns": """
        SELECT thread_id, count(*) FROM chat_turns
         WHERE status IN ('streaming', 'awaiting_approval') GROUP BY 1 HAVING count(*) > 1""",
    "an ended turn without exactly one usage row": """
        SELECT t.id, count(u.id) FROM chat_turns t LEFT JOIN token_usage u ON u.turn_id = t.id
         WHERE t.status IN ('completed', 'stopped', 'interrupted', 'failed') GROUP BY 1 HAVING count(u.id) <> 1""",
    "a turn without its shell": """
        SELECT t.id FROM chat_turns t WHERE t.thread_id IS NOT NULL AND t.started_at IS NOT NULL AND NOT EXISTS (
            SELECT FROM chat_messages m
             WHERE m.thread_id = t.thread_id AND m.turn_id = t.turn_id AND m.role = 'assistant')""",
    "an ended turn without an end": """
        SELECT id FROM chat_turns
         WHERE status IN ('completed', 'stopped', 'interrupted', 'failed') AND finished_at IS NULL""",
    "an answer that stands before its question": """
        SELECT a.id FROM chat_messages a JOIN chat_messages u USING (thread_id, turn_id)
         WHERE a.role = 'assistant' AND u.role = 'user' AND a.id < u.id""",
}


def assert_invariants() -> None:
    """Raises AssertionError that names the broken invariant and the rows that break it."""
    for name, query in BROKEN.items():
        with connection.cursor() as cursor:
            cursor.execute(query)
            rows = cursor.fetchmany(5)
        assert not rows, f"{name}: {rows}"
