"""Pages of a thread's current messages: as rows, or as the JSON that PostgreSQL makes of them."""

from __future__ import annotations

import uuid

from chat.store.messages import BUSY_SQL, SHOWN, USAGE_SHOWN, StoredMessage, stored_message
from chat.store.scope import VISIBLE_THREAD, Scope
from chat.store.sql import row, rows
from chat.store.threads import require_thread

# The last ``limit`` current messages, newest first, with their usage; ``before`` a message id, those in front of it.
# The answer that is still being written is left out, and what it is to replace: its stream tells it, and a client that
# held both would show it twice (ai-sdk reference, section 3). One that waits for decisions has no stream: it is there,
# in the place of what it is to replace.
PAGE = f"""
    (SELECT {SHOWN}
       FROM chat_threads
       JOIN chat_messages m ON m.thread_id = chat_threads.id
       LEFT JOIN token_usage u ON u.message_id = m.id
      WHERE chat_threads.id = %(thread)s AND {VISIBLE_THREAD}
        AND m.is_current AND m.deleted_at IS NULL
        AND (%(before)s::bigint IS NULL OR m.id < %(before)s)
        AND NOT (m.role = 'assistant' AND EXISTS (
             SELECT FROM chat_turns t
              WHERE t.thread_id = m.thread_id AND t.turn_id = m.turn_id AND t.status = 'streaming'))
        AND NOT EXISTS (
             SELECT FROM chat_turns t JOIN chat_messages new
                 ON new.thread_id = t.thread_id AND new.turn_id = t.turn_id AND new.role = 'assistant'
              WHERE t.thread_id = chat_threads.id AND t.status IN ({BUSY_SQL}) AND t.trigger = 'regenerate'
                AND m.id > coalesce(new.parent_id, 0))
      ORDER BY m.id DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT {SHOWN}
       FROM chat_threads
       JOIN chat_turns t ON t.thread_id = chat_threads.id AND t.status = 'awaiting_approval'
       JOIN chat_messages m ON m.thread_id = t.thread_id AND m.turn_id = t.turn_id AND m.role = 'assistant'
       LEFT JOIN token_usage u ON u.message_id = m.id
      WHERE chat_threads.id = %(thread)s AND {VISIBLE_THREAD} AND NOT m.is_current AND m.deleted_at IS NULL
        AND (%(before)s::bigint IS NULL OR m.id < %(before)s))
     ORDER BY id DESC LIMIT %(limit)s"""
# The same as ``api.messages.shown`` makes of a row, and in the same words: a test holds the two together.
AS_JSON = f"""
WITH page AS ({PAGE}), numbered AS (SELECT *, row_number() OVER (ORDER BY id DESC) AS place FROM page)
SELECT count(*) AS found, min(id) FILTER (WHERE place < %(limit)s) AS first,
       coalesce(json_agg(json_build_object(
           'id', id::text, 'role', role, 'parts', parts::json, 'metadata', metadata::json, 'turn_id', turn_id,
           'client_id', client_id,
           'created_at', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
           'usage', CASE WHEN source IS NOT NULL THEN json_build_object(
               {", ".join(f"'{name}', {name}" for name in USAGE_SHOWN)}) END
       ) ORDER BY id) FILTER (WHERE place < %(limit)s), '[]')::text AS messages
  FROM numbered
"""


def read_messages(
    scope: Scope, thread_id: uuid.UUID, *, before: int | None = None, limit: int = 50
) -> list[StoredMessage]:
    """The last ``limit`` current messages in front of ``before``, in order. Raises ThreadNotFound."""
    found = rows(PAGE, thread=thread_id, scope_user=scope.user_id, before=before, limit=limit)
    if not found:
        require_thread(scope, thread_id)
    return [stored_message(message) for message in reversed(found)]


def messages_as_json(
    scope: Scope, thread_id: uuid.UUID, *, before: int | None = None, limit: int = 50
) -> tuple[str, int | None]:
    """The same as a JSON array, as the API tells messages, and the ``before`` of the page in front of it, if there is
    one. The longest answer of the API passes through without an object made of any row. Raises ThreadNotFound.
    """
    found = row(AS_JSON, thread=thread_id, scope_user=scope.user_id, before=before, limit=limit + 1)
    assert found is not None
    if not found["found"]:
        require_thread(scope, thread_id)
    return found["messages"], found["first"] if found["found"] > limit else None
