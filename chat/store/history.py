"""What has been said in a thread, for the model."""

from __future__ import annotations

from typing import Any

from chat.store.sql import decoded, rows
from chat.store.turns import StoredTurn


def read_history(turn: StoredTurn, limit: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """At most ``limit`` current messages in front of a turn, oldest first, and the user message it answers.

    For the turn's own run, which asks in nobody's name: no scope. Messages are
    ``{"id", "role", "parts", "status"}``, the status that an answer's turn ended with.
    """
    found = rows(
        """
        (SELECT m.id, m.role, m.parts, m.metadata ->> 'status' AS status, m.turn_id = %(turn_id)s AS own
           FROM chat_messages m
          WHERE m.thread_id = %(thread)s AND m.is_current AND m.deleted_at IS NULL
            AND m.turn_id IS DISTINCT FROM %(turn_id)s
          ORDER BY m.id DESC LIMIT %(limit)s)
        UNION ALL
        (SELECT m.id, m.role, m.parts, NULL, true
           FROM chat_messages m
          WHERE m.thread_id = %(thread)s AND m.turn_id = %(turn_id)s AND m.role = 'user')
        """,
        thread=turn.thread_id,
        turn_id=turn.turn_id,
        limit=limit,
    )
    earlier, message = [], {"id": "", "role": "user", "parts": []}
    for row in found:
        entry = {"id": str(row["id"]), "role": row["role"], "parts": decoded(row["parts"]), "status": row["status"]}
        if row["own"]:
            message = entry
        else:
            earlier.append((row["id"], entry))
    return [entry for _, entry in sorted(earlier, key=lambda pair: pair[0])], message
