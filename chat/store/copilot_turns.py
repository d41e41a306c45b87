"""The beginning of a turn in a copilot chat: one transaction under the chat's lock, whoever races."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from chat.errors import Contention, TurnConflict, TurnNotFound
from chat.models import Turn
from chat.protocol.copilot import timestamp
from chat.store import turn_news
from chat.store.copilot import LockedChat, chat_busy, lock_chat, write_user_message
from chat.store.elements import last_elements
from chat.store.messages import BUSY_SQL
from chat.store.quotas import Limits, admitted, limits_of, refuse
from chat.store.scope import VISIBLE_CHAT, Scope
from chat.store.sql import encoded, one_transaction, rows
from chat.store.turns import TURN_COLUMNS, StoredTurn, find, stored_turn

# An older program's chats may have longer names of models than a turn.
MODEL_LENGTH = Turn._meta.get_field("model").max_length


@dataclass(frozen=True, slots=True)
class NewChat:
    """A chat that is made together with its first turn."""

    title: str
    model: str


def begin_copilot_turn(
    scope: Scope,
    chat_id: uuid.UUID,
    turn_id: str,
    *,
    said: dict[str, Any],
    fingerprint: str,
    request: dict[str, Any],
    trigger: str = "submit",
    model: str = "",
    default_model: str = "",
    owner: str = "",
    new: NewChat | None = None,
    title: str = "",
) -> StoredTurn:
    """Turn and user message (the element ``said``, without id and time) in one transaction; ``created`` is False for a
    turn there was. The turn id is the id of the message and of the stream.

    Races, each decided by the chat's row lock:

    - the same turn id again: the turn there is, nothing written; TurnConflict where its fingerprint is another one;
    - another turn is busy: ChatBusy with its ``turn``, ``stream_id``, ``status`` and ``cursor``, nothing written;
    - an older program has written this message, and nothing behind it: it is answered. TurnConflict where the id is
      that of any other message.

    The model is ``model``, else the chat's, else ``default_model``. With ``new`` a chat that is not there is made.
    ``title`` names one that has no title yet. Raises ChatNotFound.
    """
    limits = limits_of(scope.user_id)
    with one_transaction():
        if new is not None:
            rows(NEW_CHAT, chat=chat_id, scope_user=scope.user_id, title=new.title, model=new.model)
        chat = lock_chat(scope, chat_id)
        made = admitted(
            BEGIN_IN_CHAT,
            limits,
            chat=chat_id,
            scope_user=scope.user_id,
            turn_id=turn_id,
            request=encoded(request),
            trigger=trigger,
            fingerprint=fingerprint,
            owner=owner,
            model=(model or chat.model or default_model)[:MODEL_LENGTH],
        )
        if made is None:
            return _turn_there(scope, chat_id, turn_id, fingerprint, limits)
        turn = turn_news.started(stored_turn(made, created=True))
        _write(chat, turn, said)
        if title and not chat.title:
            rows("UPDATE copilot_chats SET title = %(title)s WHERE id = %(chat)s", title=title, chat=chat_id)
    return turn


def turn_of_stream(scope: Scope, stream_id: str) -> StoredTurn:
    """The asker's turn whose stream has this id, which is its turn id: the newest, should two chats have used one id.
    Raises TurnNotFound.
    """
    found = find(
        scope,
        f"""
        t.id = (SELECT max(s.id) FROM chat_turns s JOIN copilot_chats ON copilot_chats.id = s.copilot_chat_id
                 WHERE s.turn_id = %(stream_id)s AND s.copilot_chat_id IS NOT NULL AND {VISIBLE_CHAT})
        """,
        stream_id=stream_id,
    )
    if found is None:
        raise TurnNotFound
    return stored_turn(found)


def _write(chat: LockedChat, turn: StoredTurn, said: dict[str, Any]) -> None:
    element = {"id": turn.turn_id, "role": "user", **said, "timestamp": timestamp(turn.created_at)}
    if not write_user_message(chat, element, stream_id=turn.turn_id):
        (last,) = last_elements(chat.id, 1) or [{}]
        if any(last.get(key) != element[key] for key in ("id", "role", "content")):
            # What was written is undone with the transaction.
            raise TurnConflict("A message of this chat has this id.", turn_id=turn.turn_id)


def _turn_there(scope: Scope, chat_id: uuid.UUID, turn_id: str, fingerprint: str, limits: Limits | None) -> StoredTurn:
    there = find(scope, "t.copilot_chat_id = %(chat)s AND t.turn_id = %(turn_id)s", chat=chat_id, turn_id=turn_id)
    if there is not None:
        if there["fingerprint"] != fingerprint:
            raise TurnConflict(turn=there["id"], turn_id=turn_id)
        return stored_turn(there)
    busy = find(scope, f"t.copilot_chat_id = %(chat)s AND t.status IN ({BUSY_SQL})", chat=chat_id)
    if busy is None:
        if limits is not None:
            refuse(scope.user_id, limits)
        raise Contention  # its row was deleted, by somebody who holds no lock
    raise chat_busy(busy)


NEW_CHAT = """
INSERT INTO copilot_chats (id, user_id, title, model) VALUES (%(chat)s, %(scope_user)s, %(title)s, %(model)s)
ON CONFLICT (id) DO NOTHING
"""
# The conflict clause names no index on purpose: the turn id again and a busy chat both mean "not made".
BEGIN_IN_CHAT = f"""
WITH turn AS (
    INSERT INTO chat_turns (copilot_chat_id, user_id, turn_id, request, trigger, fingerprint, status, owner, model,
                            heartbeat_at, started_at)
    SELECT %(chat)s::uuid, %(scope_user)s, %(turn_id)s, %(request)s::jsonb, %(trigger)s, %(fingerprint)s, 'streaming',
           %(owner)s, %(model)s, clock_timestamp(), clock_timestamp()
     WHERE true {{within}}
    ON CONFLICT DO NOTHING
    RETURNING *
){{quota}}
SELECT {TURN_COLUMNS}, NULL::bigint AS user_message_id, NULL::bigint AS assistant_message_id FROM turn t
"""
