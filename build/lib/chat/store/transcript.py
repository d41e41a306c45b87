"""What has been said in a copilot chat: from the array or from its mirror, as the phase says."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from chat.conf import reads_mirror
from chat.errors import ChatNotFound, MessageNotFound
from chat.store.scope import Scope
from chat.store.sql import rows


@dataclass(frozen=True, slots=True)
class Said:
    """One element of a history: its id (made up where the element has none) and the element as JSON text."""

    message_id: str
    content: str


def read_transcript(
    scope: Scope | None, chat_id: uuid.UUID, *, before: str | None = None, limit: int = 50
) -> list[Said]:
    """The last ``limit`` elements in order, or the last ones in front of the message ``before``. Elements that no row
    can hold (no objects, repeated ids) are in none of the phases' answers. Without a scope for the run of a turn.

    Raises ChatNotFound; MessageNotFound where ``before`` is not in the history.
    """
    source = FROM_MIRROR if reads_mirror() else FROM_ARRAY
    found = rows(
        source,
        chat=chat_id,
        user=None if scope is None else str(scope.user_id),
        before=before,
        limit=limit,
    )
    if not found:
        raise ChatNotFound
    if before is not None and found[0]["place"] is None:
        raise MessageNotFound
    return [Said(one["message_id"], one["content"]) for one in reversed(found) if one["message_id"] is not None]


# One row at least for a chat that the asker may see, so that an empty history is not a missing chat. ``place`` is where
# ``before`` stands. Rows are asked for by the chat's id itself: by that the planner knows a long chat from a short one.
SEEN = """
    SELECT c.* FROM copilot_chats c
     WHERE c.id = %(chat)s AND (%(user)s::text IS NULL OR c.user_id::text = %(user)s::text)"""
FROM_MIRROR = f"""
WITH chat AS (SELECT id FROM ({SEEN}) seen), place AS (
    SELECT seq AS place FROM copilot_chat_messages
     WHERE chat_id = %(chat)s AND message_id = %(before)s AND deleted_at IS NULL
)
SELECT m.message_id, m.content::text AS content, (SELECT place FROM place) AS place
  FROM chat LEFT JOIN LATERAL (
       SELECT message_id, content, seq FROM copilot_chat_messages
        WHERE chat_id = %(chat)s AND deleted_at IS NULL
          AND seq < CASE WHEN %(before)s::text IS NULL THEN 2147483647 ELSE (SELECT place FROM place) END
        ORDER BY seq DESC LIMIT %(limit)s) m ON true
 ORDER BY m.seq DESC
"""
FROM_ARRAY = f"""
WITH chat AS MATERIALIZED ({SEEN}), history AS MATERIALIZED (
    SELECT DISTINCT ON (e.message_id) e.idx, e.message_id, e.content
      FROM chat CROSS JOIN LATERAL copilot_elements(chat.messages, chat.created_at) e
     WHERE e.message_id IS NOT NULL ORDER BY e.message_id, e.idx
), place AS (
    SELECT idx AS place FROM history WHERE message_id = %(before)s
)
SELECT h.message_id, h.content::text AS content, (SELECT place FROM place) AS place
  FROM chat LEFT JOIN LATERAL (
       SELECT * FROM history
        WHERE idx < CASE WHEN %(before)s::text IS NULL THEN 2147483647 ELSE (SELECT place FROM place) END
        ORDER BY idx DESC LIMIT %(limit)s) h ON true
 ORDER BY h.idx DESC
"""
