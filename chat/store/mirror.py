"""The mirror of the copilot chats' arrays: written under the chat's row lock, in the transaction that holds it.

After that transaction it would be too late: order is lost, and rows that were replaced come back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from chat.conf import Phase, phase
from chat.store.sql import DatabaseError, connection, encoded, row, rows
from chat.telemetry import commit, event, measure

logger = logging.getLogger(__name__)

# Milliseconds that a best-effort write may wait for a lock, and take.
LOCK_TIMEOUT, STATEMENT_TIMEOUT = 200, 2_000


def mirrored(chat_id: UUID, write: Callable[[], object]) -> None:
    """Write the mirror as the phase wants it, inside the transaction that holds the chat's lock.

    ``dual``: best effort. A failure rolls back to where the mirror's write began, is logged with the chat's id, counted
    in ``mirror_failures`` and reaches nobody. ``mirror_reads`` and ``mirror_only``: a failure fails the request, and
    with it the array's change. ``jsonb``: nothing is written.
    """
    now = phase()
    if now == Phase.JSONB:
        return
    with commit("mirror"):
        if now != Phase.DUAL:
            write()
            return
        try:
            with transaction.atomic(using=connection().alias):
                earlier = row(TIMEOUTS, wait=f"{LOCK_TIMEOUT}ms", work=f"{STATEMENT_TIMEOUT}ms")
                assert earlier is not None
                write()
                # A rollback undoes the settings by itself; the end of a savepoint does not.
                row(TIMEOUTS, wait=earlier["wait"], work=earlier["work"])
        except DatabaseError as problem:
            if not connection().is_usable():
                raise  # not the mirror: the whole connection
            name = type(problem).__name__
            told = event("mirror_failed", conversation=chat_id, problem=name)
            logger.warning("the mirror of copilot chat %s could not be written: %s", chat_id, name, extra=told)
            measure("chat_mirror_failures_total")
            rows("UPDATE copilot_chats SET mirror_failures = mirror_failures + 1 WHERE id = %(chat)s", chat=chat_id)


def append(
    chat_id: UUID,
    elements: Sequence[dict[str, Any]],
    *,
    place: int = 0,
    model: str = "",
    stream_id: str | None = None,
    tokens_in: int | None = None,
    tokens_out: int | None = None,
) -> None:
    """Add elements that stand in the array from index ``place`` on: one upsert, the first of a repeated id wins.

    A row that is there gets content and role, and model, stream and tokens where they are told; its place and time
    stay. New rows get their index as ``seq``, or what follows the highest one there is, where that is more: a program
    of the neighbouring phase may have written in between. The caller holds the chat's lock, which is what makes
    ``seq`` free of ties.
    """
    if elements:
        rows(
            APPEND,
            chat=chat_id,
            elements=encoded(list(elements)),
            place=place,
            model=model,
            stream_id=stream_id,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
        )


def insert(chat_id: UUID, element: dict[str, Any], *, before: str, **fields: Any) -> None:
    """``append`` of one element in front of the row ``before``: what stands behind it moves on by one."""
    found = row(
        """
        WITH place AS (
            SELECT seq FROM copilot_chat_messages WHERE chat_id = %(chat)s AND message_id = %(before)s
        ), moved AS (
            UPDATE copilot_chat_messages m SET seq = m.seq + 1
              FROM place WHERE m.chat_id = %(chat)s AND m.seq >= place.seq
        )
        SELECT seq FROM place
        """,
        chat=chat_id,
        before=before,
    )
    append(chat_id, [element], **fields)
    if found is not None:
        rows(
            "UPDATE copilot_chat_messages SET seq = %(seq)s WHERE chat_id = %(chat)s AND message_id = %(id)s",
            seq=found["seq"],
            chat=chat_id,
            id=element["id"],
        )


def replace(chat_id: UUID, elements: Sequence[dict[str, Any]], *, model: str = "") -> None:
    """Make the mirror this array: what is not in it goes, the rest is written, each at its index. Model, stream, tokens
    and time of rows that stay are kept.
    """
    rows(REPLACE, chat=chat_id, elements=encoded(list(elements)), model=model)


def copy_array(chat_id: UUID) -> None:
    """Make the mirror rows of a chat that was just made out of its array, on the server."""
    rows(COPY_ARRAY, chat=chat_id)


TIMEOUTS = """
SELECT current_setting('lock_timeout') AS wait, current_setting('statement_timeout') AS work,
       set_config('lock_timeout', %(wait)s, true), set_config('statement_timeout', %(work)s, true)
"""
# The time of an element without one is the chat's own, as everywhere.
GIVEN = """
    SELECT DISTINCT ON (e.message_id) e.* FROM copilot_chats c
     CROSS JOIN LATERAL copilot_elements(%(elements)s::jsonb, c.created_at) e
     WHERE c.id = %(chat)s AND e.message_id IS NOT NULL ORDER BY e.message_id, e.idx
"""
CONTENT = """
    content = EXCLUDED.content, role = EXCLUDED.role, model = coalesce(EXCLUDED.model, copilot_chat_messages.model),
    deleted_at = NULL, updated_at = clock_timestamp()"""
# The highest seq by its index: however long the chat is, one row is read.
APPEND = f"""
WITH given AS ({GIVEN}), next AS (
    SELECT greatest(%(place)s, coalesce((SELECT seq FROM copilot_chat_messages
                                          WHERE chat_id = %(chat)s AND deleted_at IS NULL
                                          ORDER BY seq DESC LIMIT 1), -1) + 1) AS seq
)
INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, model, stream_id, tokens_in, tokens_out,
                                   created_at)
SELECT %(chat)s, given.message_id, next.seq + given.idx, given.role, given.content, nullif(%(model)s, ''),
       %(stream_id)s::text, %(tokens_in)s::int, %(tokens_out)s::int, given.created_at
  FROM given CROSS JOIN next
ON CONFLICT (chat_id, message_id) DO UPDATE
   SET {CONTENT}, stream_id = coalesce(EXCLUDED.stream_id, copilot_chat_messages.stream_id),
       tokens_in = coalesce(EXCLUDED.tokens_in, copilot_chat_messages.tokens_in),
       tokens_out = coalesce(EXCLUDED.tokens_out, copilot_chat_messages.tokens_out)
"""
REPLACE = f"""
WITH given AS ({GIVEN}), gone AS (
    DELETE FROM copilot_chat_messages m
     WHERE m.chat_id = %(chat)s AND NOT EXISTS (SELECT FROM given WHERE given.message_id = m.message_id)
)
INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, model, created_at)
SELECT %(chat)s, message_id, idx, role, content, nullif(%(model)s, ''), created_at FROM given
ON CONFLICT (chat_id, message_id) DO UPDATE SET {CONTENT}, seq = EXCLUDED.seq
"""
COPY_ARRAY = """
INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, model, created_at)
SELECT c.id, e.message_id, e.idx, e.role, e.content, nullif(c.model, ''), e.created_at
  FROM copilot_chats c CROSS JOIN LATERAL copilot_elements(c.messages, c.created_at) e
 WHERE c.id = %(chat)s AND e.message_id IS NOT NULL
ON CONFLICT (chat_id, message_id) DO NOTHING
"""
