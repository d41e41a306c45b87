"""Elements of a copilot chat's history, out of the array or the mirror as the phase says, for the turns of the chat."""

from __future__ import annotations

import json
import uuid
from typing import Any

import orjson

from chat.conf import Phase, phase
from chat.protocol.sanitize import clean
from chat.store.scope import VISIBLE_CHAT, Scope
from chat.store.sql import decoded, row, rows

Element = dict[str, Any]

MIRRORED = (Phase.MIRROR_READS, Phase.MIRROR_ONLY)


def last_elements(chat_id: uuid.UUID, limit: int) -> list[Element]:
    """At most ``limit`` last elements, oldest first; what is no object is left out. No scope: for those who have asked
    for the chat.
    """
    found = rows(LAST_ROWS if phase() in MIRRORED else LAST_IN_ARRAY, chat=chat_id, limit=limit)
    return [element for one in found if isinstance(element := _element(one["content"]), dict)]


def find_element(scope: Scope, chat_id: uuid.UUID, element_id: str) -> Element | None:
    """The element of that id, None where there is none, or none that the asker may see."""
    found = row(ROW if phase() in MIRRORED else IN_ARRAY, chat=chat_id, id=element_id, scope_user=scope.user_id)
    return None if found is None else _element(found["content"])


def _element(text: str) -> Any:
    try:
        return decoded(text)
    except orjson.JSONDecodeError:  # a number that only PostgreSQL holds, from another program
        return clean(json.loads(text))


# The path's ``last`` is the index of the last element; what it names before the first one is ignored.
LAST_IN_ARRAY = """
SELECT e.content
  FROM copilot_chats c CROSS JOIN LATERAL jsonb_array_elements(
       jsonb_path_query_array(c.messages, '$[last - $n to last]', jsonb_build_object('n', %(limit)s::int - 1))
       ) WITH ORDINALITY AS e (content, place)
 WHERE c.id = %(chat)s AND jsonb_typeof(c.messages) = 'array' ORDER BY e.place
"""
LAST_ROWS = """
SELECT content FROM (
    SELECT content, seq FROM copilot_chat_messages
     WHERE chat_id = %(chat)s AND deleted_at IS NULL ORDER BY seq DESC LIMIT %(limit)s
) AS last ORDER BY seq
"""
IN_ARRAY = f"""
SELECT e.content
  FROM copilot_chats CROSS JOIN LATERAL
       jsonb_path_query_first(messages, '$[*] ? (@.id == $id)', jsonb_build_object('id', %(id)s::text)) AS e (content)
 WHERE copilot_chats.id = %(chat)s AND {VISIBLE_CHAT} AND e.content IS NOT NULL
"""
ROW = f"""
SELECT m.content FROM copilot_chats JOIN copilot_chat_messages m ON m.chat_id = copilot_chats.id
 WHERE copilot_chats.id = %(chat)s AND {VISIBLE_CHAT} AND m.message_id = %(id)s AND m.deleted_at IS NULL
"""
