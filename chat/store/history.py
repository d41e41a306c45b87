"""What has been said in a conversation, for the model, and what a turn has answered, for a replay."""

from __future__ import annotations

from typing import Any

import orjson

from chat.errors import MessageNotFound
from chat.protocol.copilot import message_of
from chat.store.attachments import with_contents
from chat.store.elements import find_element, last_elements
from chat.store.messages import read_turn_message
from chat.store.scope import Scope
from chat.store.sql import decoded, rows
from chat.store.turns import StoredTurn

Message = dict[str, Any]


def read_history(turn: StoredTurn, limit: int) -> tuple[list[Message], Message]:
    """At most ``limit`` current messages in front of a turn, oldest first, and the user message it answers.

    For the turn's own run, which asks in nobody's name: no scope. Messages are
    ``{"id", "role", "parts", "status"}``, the status that an answer's turn ended with.
    """
    if turn.copilot_chat_id is not None:
        return _of_chat(turn, limit)
    said, message = _of_thread(turn, limit)
    *said, message = with_contents([*said, message], turn)
    return said, message


def read_answer(scope: Scope, turn: StoredTurn) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The parts and the metadata of a turn's answer as they are stored; none where it has no answer."""
    if turn.copilot_chat_id is not None:
        element = find_element(scope, turn.copilot_chat_id, str(turn.assistant_message_id))
        answer = message_of(element)
        if element is None or answer is None:
            return [], {}
        return answer["parts"], _metadata(element.get("metadata"))
    try:
        message = read_turn_message(scope, turn.conversation, turn.turn_id, "assistant")
    except MessageNotFound:  # cancelled while it was queued
        return [], {}
    parts: list[dict[str, Any]] = orjson.loads(orjson.dumps(message.parts))
    return parts, _metadata(orjson.loads(orjson.dumps(message.metadata)))


def _metadata(stored: Any) -> dict[str, Any]:
    return stored if isinstance(stored, dict) else {}


def _of_thread(turn: StoredTurn, limit: int) -> tuple[list[Message], Message]:
    found = rows(
        """
        WITH answer AS (
            SELECT id, parent_id FROM chat_messages
             WHERE thread_id = %(thread)s AND turn_id = %(turn_id)s AND role = 'assistant'
        )
        SELECT m.id, m.role, m.parts, m.metadata ->> 'status' AS status, m.turn_id = %(turn_id)s AS own
          FROM chat_messages m
         WHERE m.thread_id = %(thread)s AND m.is_current AND m.deleted_at IS NULL
           AND m.id <= (SELECT coalesce(parent_id, 0) FROM answer)
         ORDER BY m.id DESC LIMIT %(limit)s + 1
        """,
        thread=turn.thread_id,
        turn_id=turn.turn_id,
        limit=limit,
    )
    said = [
        {"id": str(one["id"]), "role": one["role"], "parts": decoded(one["parts"]), "status": one["status"]}
        for one in reversed(found)
    ]
    # The turn's own message, wherever it stands; another answer goes to the last that was asked before it.
    asked = [place for place, one in enumerate(reversed(found)) if one["own"] and one["role"] == "user"]
    asked = asked or [place for place, one in enumerate(said) if one["role"] == "user"]
    if not asked:
        return said[-limit:], {"id": "", "role": "user", "parts": []}
    message = said.pop(asked[-1])
    return said[-limit:], message


def _of_chat(turn: StoredTurn, limit: int) -> tuple[list[Message], Message]:
    assert turn.copilot_chat_id is not None
    said = [message for element in last_elements(turn.copilot_chat_id, limit + 1) if (message := message_of(element))]
    place = next((place for place, message in enumerate(said) if message["id"] == turn.turn_id), None)
    if place is not None:
        return said[:place], said[place]
    # An older program has saved the array without it: what was asked stands in the request as well.
    own = message_of({"id": turn.turn_id, "role": "user", **turn.request.get("said", {})})
    assert own is not None
    return said[-limit:], own
