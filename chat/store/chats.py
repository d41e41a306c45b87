"""Copilot chats: made, listed, read, renamed, deleted. Their history is changed by ``store.copilot`` alone."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model

from chat.errors import ChatNotFound, Contention, InvalidInput
from chat.store.copilot import import_chat, lock_chat
from chat.store.messages import BUSY_SQL
from chat.store.scope import VISIBLE_CHAT, Scope
from chat.store.sql import ATTEMPTS, Row, connection, decoded, encoded, one_transaction, row, rows
from chat.store.stream_log import TELL_STOP
from chat.store.transcript import Said, read_transcript
from chat.store.turns import StoredTurn, busy_turn
from chat.store.usage import USAGE_COLUMNS, USAGE_VALUES, UsageFigures

# The live turn's stream, not the marker: that may be left over from a program that died.
COLUMNS = f"""id, title, model, config, messages_version, created_at, updated_at,
       (SELECT t.turn_id FROM chat_turns t
         WHERE t.copilot_chat_id = copilot_chats.id AND t.status IN ({BUSY_SQL})) AS active_stream_id"""


def create_chat(scope: Scope, *, title: str = "", model: str = "", config: Any = None) -> Row:
    """A new chat of the asker's, without messages."""
    return _found(
        row(
            f"""
            INSERT INTO copilot_chats (user_id, title, model, config)
            VALUES (%(scope_user)s, %(title)s, %(model)s, %(config)s::jsonb) RETURNING {COLUMNS}
            """,
            scope_user=scope.user_id,
            title=title,
            model=model,
            config=encoded(config or {}),
        )
    )


def read_chat(scope: Scope, chat_id: uuid.UUID) -> Row:
    """One chat without its messages. Raises ChatNotFound."""
    return _found(
        row(
            f"SELECT {COLUMNS} FROM copilot_chats WHERE id = %(chat)s AND {VISIBLE_CHAT}",
            chat=chat_id,
            scope_user=scope.user_id,
        )
    )


@dataclass(frozen=True, slots=True)
class OpenedChat:
    """A chat as it was at one moment: its row, a page of its messages, and the turn that was live, or waited for
    decisions.
    """

    chat: Row
    messages: list[Said]
    live: StoredTurn | None


def open_chat(scope: Scope, chat_id: uuid.UUID, *, before: str | None = None, limit: int = 50) -> OpenedChat:
    """A chat with its last ``limit`` messages, or the last ones in front of the message ``before``.

    Race: a turn that begins or ends between the reads would fall between them. The version tells, and they are made
    again; Contention when that does not help. Raises ChatNotFound, MessageNotFound.
    """
    chat = read_chat(scope, chat_id)
    for _ in range(ATTEMPTS):
        live = busy_turn(scope, chat_id)
        messages = read_transcript(scope, chat_id, before=before, limit=limit)
        now = read_chat(scope, chat_id)
        if now["messages_version"] == chat["messages_version"]:
            return OpenedChat(chat, messages, live)
        chat = now
    raise Contention


def update_chat(
    scope: Scope, chat_id: uuid.UUID, *, title: str | None = None, model: str | None = None, config: Any = None
) -> Row:
    """Change what is not None. That is no activity: ``updated_at`` stays. Raises ChatNotFound."""
    return _found(
        row(
            f"""
            UPDATE copilot_chats
               SET title = coalesce(%(title)s, title), model = coalesce(%(model)s, model),
                   config = coalesce(%(config)s::jsonb, config)
             WHERE id = %(chat)s AND {VISIBLE_CHAT} RETURNING {COLUMNS}
            """,
            chat=chat_id,
            scope_user=scope.user_id,
            title=title,
            model=model,
            config=None if config is None else encoded(config),
        )
    )


def list_chats(scope: Scope, *, after: tuple[datetime, uuid.UUID] | None = None, limit: int = 50) -> list[Row]:
    """Chats without their messages, newest activity first, at most ``limit``; ``after`` the time and id of one."""
    found = rows(
        f"""
        SELECT {COLUMNS} FROM copilot_chats
         WHERE {VISIBLE_CHAT}
           AND (%(updated_at)s::timestamptz IS NULL
                OR updated_at < %(updated_at)s OR (updated_at = %(updated_at)s AND id > %(id)s))
         ORDER BY updated_at DESC, id LIMIT %(limit)s
        """,
        scope_user=scope.user_id,
        updated_at=after and after[0],
        id=after and after[1],
        limit=limit,
    )
    return [_found(chat) for chat in found]


def delete_chat(scope: Scope, chat_id: uuid.UUID) -> None:
    """Delete a chat with its history and turns. Raises ChatNotFound.

    A turn that is live in it loses its row: whoever runs it is told, and what it has used is not known any more. That
    it was run is kept, like every usage row.
    """
    with one_transaction():
        lock_chat(scope, chat_id)
        rows(LEAVE_USAGE, chat=chat_id, **UsageFigures().parameters())
        rows("DELETE FROM copilot_chats WHERE id = %(chat)s", chat=chat_id)


LEAVE_USAGE = f"""
WITH live AS (
    SELECT id, copilot_chat_id, user_id FROM chat_turns
     WHERE copilot_chat_id = %(chat)s AND status IN ({BUSY_SQL})
), left_over AS (
    INSERT INTO token_usage (turn_id, copilot_chat_id, user_id, {USAGE_COLUMNS})
    SELECT id, copilot_chat_id, user_id, {USAGE_VALUES} FROM live
    ON CONFLICT DO NOTHING
)
SELECT {TELL_STOP} FROM live
"""


def import_chats(username: str | None, scope: Scope, chats: Sequence[dict[str, Any]]) -> list[uuid.UUID]:
    """Take over chats (``title``, ``model``, ``config``, ``messages``) for a user, or for who asks: all or none.

    Raises InvalidInput where there is no such user. Whether the asker may, the caller has seen to.
    """
    user_id: Any = scope.user_id
    if username is not None:
        users = get_user_model()
        found = users._default_manager.using(connection().alias).filter(**{users.USERNAME_FIELD: username}).first()
        if found is None:
            raise InvalidInput("user", "There is no such user.")
        user_id = found.pk
    with one_transaction():
        return [
            import_chat(
                user_id, title=chat["title"], model=chat["model"], elements=chat["messages"], config=chat["config"]
            )
            for chat in chats
        ]


def _found(chat: Row | None) -> Row:
    if chat is None:
        raise ChatNotFound
    return {**chat, "config": decoded(chat["config"])}
