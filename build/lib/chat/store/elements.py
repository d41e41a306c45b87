"""Elements of a copilot chat's history as values, for the turns of the chat."""

from __future__ import annotations

import json
import uuid
from typing import Any

import orjson

from chat.conf import reads_mirror
from chat.protocol.sanitize import clean
from chat.store.scope import VISIBLE_CHAT, Scope
from chat.store.sql import decoded, row
from chat.store.transcript import read_transcript

Element = dict[str, Any]


def last_elements(chat_id: uuid.UUID, limit: int) -> list[Element]:
    """At most ``limit`` last elements, oldest first. For a run, which asks in nobody's name: no scope."""
    return [_element(said.content) for said in read_transcript(None, chat_id, limit=limit)]


def find_element(scope: Scope, chat_id: uuid.UUID, element_id: str) -> Element | None:
    """The element of that id, None where there is none, or none that the asker may see."""
    mirrored = reads_mirror()
    found = row(ROW if mirrored else IN_ARRAY, chat=chat_id, id=element_id, scope_user=scope.user_id)
    return None if found is None else _element(found["content"])


def value_of(text: str) -> Any:
    """A JSON value that any program may have written."""
    try:
        return decoded(text)
    except orjson.JSONDecodeError:  # a number that only PostgreSQL holds
        return clean(json.loads(text))


def _element(text: str) -> Element:
    value = value_of(text)
    assert isinstance(value, dict)  # what is no object has no id
    return value


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
