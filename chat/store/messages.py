"""Messages of threads: written once, whoever races, and read in pages."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import orjson

from chat.errors import Contention, MessageNotFound, TurnNotFound
from chat.models import BUSY, ENDED
from chat.protocol.usage import COUNTS
from chat.store.scope import VISIBLE_THREAD, WRITABLE_THREAD, Scope
from chat.store.sql import ATTEMPTS, encoded, row, rows
from chat.store.threads import require_writable
from chat.store.turns import StoredTurn
from chat.store.usage import USAGE_COLUMNS, USAGE_VALUES, UsageFigures

BUSY_SQL = ", ".join(f"'{status.value}'" for status in BUSY)
ENDED_SQL = ", ".join(f"'{status.value}'" for status in ENDED)

# A statement that waits for a thread's lock goes on with what it saw before. Every change of a thread's messages moves
# its ``updated_at``, of which the lock gives the newest: where the two differ, the statement is to be sent once more.
FRESH = "thread.updated_at = (SELECT seen.updated_at FROM chat_threads seen WHERE seen.id = thread.id)"
# A row that a client wrote before the send of the same turn; the send's text replaces it.
APPENDED = '{"appended": true}'


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message row. ``parts`` and ``metadata`` are JSON text: they pass through without being parsed."""

    id: int
    turn_id: str | None
    role: str
    parts: orjson.Fragment
    metadata: orjson.Fragment
    client_id: str | None
    created_at: Any
    usage: dict[str, Any] | None = None
    created: bool = False


COLUMNS = "id, turn_id, role, parts::text AS parts, metadata::text AS metadata, client_id, created_at"
SHOWN = """m.id, m.turn_id, m.role, m.parts::text AS parts, m.metadata::text AS metadata, m.client_id, m.created_at,
               u.prompt_tokens, u.completion_tokens, u.total_tokens, u.cached_tokens, u.reasoning_tokens,
               u.cost_micros, u.source"""


def persist_user_turn(
    scope: Scope,
    thread_id: uuid.UUID,
    turn_id: str,
    parts: list[dict[str, Any]],
    *,
    client_id: str | None = None,
) -> StoredMessage:
    """Write the user row of a turn that is begun elsewhere or later; again for the same turn, get the row there is.

    The engine itself writes it in ``begin_turn``, together with turn and shell. Race: whoever writes first stays,
    except that a legacy append (marked as such) gives way to this text. Raises ThreadNotFound.
    """
    return _insert(
        scope,
        thread_id,
        turn_id=turn_id,
        role="user",
        parts=parts,
        client_id=client_id,
        metadata="{}",
        conflict=(
            "DO UPDATE SET parts = EXCLUDED.parts, client_id = EXCLUDED.client_id, author_id = EXCLUDED.author_id,"
            " metadata = chat_messages.metadata - 'appended', updated_at = clock_timestamp()"
            " WHERE chat_messages.metadata ? 'appended'"
        ),
    )


def append_message(
    scope: Scope,
    thread_id: uuid.UUID,
    role: str,
    parts: list[dict[str, Any]],
    *,
    turn_id: str | None = None,
    usage: UsageFigures | None = None,
    client_id: str | None = None,
) -> StoredMessage:
    """A client's own write, for recovery only (``POST /api/threads/{id}/messages/``).

    With a turn id that has a row of that role, that row comes back and ``parts`` are dropped. Otherwise it makes
    a ``user`` row, or the assistant row of an ended turn of the asker's that lost it. A turn that gives another answer
    has no question of its own: the one that it answers comes back. ``usage`` is taken only for an ended turn that has
    none: what the server counts is never overwritten.

    Raises ThreadNotFound, and TurnNotFound for an assistant row without such a turn.
    """
    if role == "assistant":
        _require_own_turn(scope, thread_id, turn_id)
    elif turn_id is not None and (answered := _answered(scope, thread_id, turn_id)):
        return answered
    message = _insert(
        scope,
        thread_id,
        turn_id=turn_id,
        role=role,
        parts=parts,
        client_id=client_id,
        metadata=APPENDED if turn_id is not None else "{}",
        conflict="DO NOTHING",
    )
    if usage is not None and role == "assistant":
        _append_usage(thread_id, turn_id, usage)
    return message


def _insert(
    scope: Scope,
    thread_id: uuid.UUID,
    *,
    turn_id: str | None,
    role: str,
    parts: list[dict[str, Any]],
    client_id: str | None,
    metadata: str,
    conflict: str,
) -> StoredMessage:
    # The thread's row is locked first, as every writer of a thread does: no deadlock, and no write into a thread
    # that is being deleted. The row that is there already shows only to a second statement, and may be gone by then.
    for _ in range(ATTEMPTS):
        made = row(
            f"""
            WITH thread AS (
                SELECT id, updated_at FROM chat_threads WHERE id = %(thread)s AND {WRITABLE_THREAD} FOR NO KEY UPDATE
            ), message AS (
                INSERT INTO chat_messages (thread_id, turn_id, role, parts, author_id, client_id, metadata, parent_id)
                SELECT id, %(turn_id)s::varchar, %(role)s::varchar, %(parts)s::jsonb,
                       CASE WHEN %(role)s::varchar = 'user' THEN %(scope_user)s END, %(client_id)s::varchar,
                       %(metadata)s::jsonb,
                       (SELECT max(last.id) FROM chat_messages last
                         WHERE last.thread_id = thread.id AND last.is_current AND last.deleted_at IS NULL)
                  FROM thread WHERE {FRESH}
                ON CONFLICT (thread_id, turn_id, role) WHERE turn_id IS NOT NULL {conflict}
                RETURNING *
            ), activity AS (
                UPDATE chat_threads SET updated_at = clock_timestamp()
                 WHERE id IN (SELECT thread_id FROM message)
            )
            SELECT {COLUMNS} FROM message
            """,
            thread=thread_id,
            scope_user=scope.user_id,
            turn_id=turn_id,
            role=role,
            parts=encoded(parts),
            client_id=client_id,
            metadata=metadata,
        )
        if made is not None:
            return stored_message(made, created=True)
        there = row(
            f"""
            SELECT {COLUMNS} FROM chat_messages
             WHERE thread_id = %(thread)s AND turn_id = %(turn_id)s AND role = %(role)s
               AND EXISTS (SELECT FROM chat_threads WHERE id = %(thread)s AND {VISIBLE_THREAD})
            """,
            thread=thread_id,
            scope_user=scope.user_id,
            turn_id=turn_id,
            role=role,
        )
        if there is not None:
            return stored_message(there)
        require_writable(scope, thread_id)
    raise Contention


def _require_own_turn(scope: Scope, thread_id: uuid.UUID, turn_id: str | None) -> None:
    if not row(
        """
        SELECT 1 FROM chat_turns
         WHERE thread_id = %(thread)s AND turn_id = %(turn_id)s AND user_id = %(scope_user)s AND status <> 'queued'
        """,
        thread=thread_id,
        turn_id=turn_id,
        scope_user=scope.user_id,
    ):
        raise TurnNotFound("An assistant message can only be appended to a turn of your own that has begun.")


def _append_usage(thread_id: uuid.UUID, turn_id: str | None, usage: UsageFigures) -> None:
    # One statement: the turn's status and the missing row are looked at where the row is written.
    rows(
        f"""
        INSERT INTO token_usage (turn_id, message_id, thread_id, user_id, {USAGE_COLUMNS})
        SELECT t.id, m.id, t.thread_id, t.user_id, {USAGE_VALUES}
          FROM chat_turns t
          JOIN chat_messages m ON m.thread_id = t.thread_id AND m.turn_id = t.turn_id AND m.role = 'assistant'
         WHERE t.thread_id = %(thread)s AND t.turn_id = %(turn_id)s AND t.status IN ({ENDED_SQL})
        ON CONFLICT DO NOTHING RETURNING id
        """,
        thread=thread_id,
        turn_id=turn_id,
        **usage.parameters(),
    )


def read_message(scope: Scope, pk: int) -> StoredMessage:
    """A message of a thread, whichever version of it, with its usage. Raises MessageNotFound."""
    found = row(
        f"""
        SELECT {SHOWN}
          FROM chat_messages m
          JOIN chat_threads ON chat_threads.id = m.thread_id
          LEFT JOIN token_usage u ON u.message_id = m.id
         WHERE m.id = %(message)s AND m.deleted_at IS NULL AND {VISIBLE_THREAD}
        """,
        message=pk,
        scope_user=scope.user_id,
    )
    if found is None:
        raise MessageNotFound
    return stored_message(found)


def read_turn_message(scope: Scope, thread_id: uuid.UUID, turn_id: str, role: str) -> StoredMessage:
    """The row of a turn and role. Raises MessageNotFound."""
    found = row(
        f"""
        SELECT {COLUMNS} FROM chat_messages
         WHERE thread_id = %(thread)s AND turn_id = %(turn_id)s AND role = %(role)s
           AND EXISTS (SELECT FROM chat_threads WHERE id = %(thread)s AND {VISIBLE_THREAD})
        """,
        thread=thread_id,
        turn_id=turn_id,
        role=role,
        scope_user=scope.user_id,
    )
    if found is None:
        raise MessageNotFound
    return stored_message(found)


def read_question(scope: Scope, turn: StoredTurn) -> StoredMessage:
    """The user message that a turn answers: its own, or the one that another answer was asked for. Raises
    MessageNotFound.
    """
    try:
        return read_turn_message(scope, turn.conversation, turn.turn_id, "user")
    except MessageNotFound:
        if answered := _answered(scope, turn.conversation, turn.turn_id):
            return answered
        raise


def _answered(scope: Scope, thread_id: uuid.UUID, turn_id: str) -> StoredMessage | None:
    """The user message behind which a turn's answer stands."""
    found = row(
        f"""
        SELECT {COLUMNS} FROM chat_messages
         WHERE id = (SELECT parent_id FROM chat_messages
                      WHERE thread_id = %(thread)s AND turn_id = %(turn_id)s AND role = 'assistant')
           AND role = 'user' AND EXISTS (SELECT FROM chat_threads WHERE id = %(thread)s AND {VISIBLE_THREAD})
        """,
        thread=thread_id,
        turn_id=turn_id,
        scope_user=scope.user_id,
    )
    return stored_message(found) if found else None


USAGE_SHOWN = (*COUNTS, "source")


def stored_message(found: dict[str, Any], *, created: bool = False) -> StoredMessage:
    return StoredMessage(
        id=found["id"],
        turn_id=found["turn_id"],
        role=found["role"],
        parts=orjson.Fragment(found["parts"]),
        metadata=orjson.Fragment(found["metadata"]),
        client_id=found["client_id"],
        created_at=found["created_at"],
        usage={name: found[name] for name in USAGE_SHOWN} if found.get("source") else None,
        created=created,
    )
