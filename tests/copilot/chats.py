"""Copilot chats for tests, and what must be true of them."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
from django.db import connection

from chat.models import CopilotChat, CopilotMessage
from chat.store.scope import Scope

Element = dict[str, Any]


def element(name: str, role: str = "user", **more: Any) -> Element:
    """An element as the older product wrote it; all of them at the same moment, as times tie in practice."""
    return {"id": name, "role": role, "content": f"words of {name}", "timestamp": "2026-05-01T10:00:00.000Z", **more}


def elements(*names: str) -> list[Element]:
    """Elements by name: those that begin with ``a`` are answers."""
    return [element(name, "assistant" if name.startswith("a") else "user") for name in names]


def chat_with(asker: Scope, *names: str, mirrored: bool = True, **fields: Any) -> uuid.UUID:
    """A chat of the asker that an older program has made, with these messages; and their mirror as the backfill makes
    it.
    """
    history = fields.pop("messages", elements(*names))
    chat = CopilotChat.objects.create(user_id=asker.user_id, messages=history, **{"model": "large", **fields})
    if mirrored:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, model, created_at)
                SELECT c.id, e.message_id, e.idx, e.role, e.content, c.model, e.created_at
                  FROM copilot_chats c, copilot_elements(c.messages, c.created_at) e
                 WHERE c.id = %s AND e.message_id IS NOT NULL ON CONFLICT DO NOTHING
                """,
                [chat.pk],
            )
    return chat.pk


def array(chat: uuid.UUID) -> list[str]:
    """The ids in a chat's array, in order."""
    return [one["id"] for one in CopilotChat.objects.get(pk=chat).messages]


def mirror(chat: uuid.UUID) -> list[str]:
    """The ids in a chat's mirror, in order; raises AssertionError where two rows have the same place."""
    rows = list(CopilotMessage.objects.filter(chat=chat, deleted_at=None).order_by("seq").values("seq", "message_id"))
    assert len({row["seq"] for row in rows}) == len(rows), rows
    return [row["message_id"] for row in rows]


def mirror_row(chat: uuid.UUID, name: str) -> CopilotMessage:
    return CopilotMessage.objects.get(chat=chat, message_id=name)


def assert_mirrored(*chats: uuid.UUID) -> None:
    """The mirror is the array: ids, order, content."""
    for chat in chats:
        expected = CopilotChat.objects.get(pk=chat).messages
        rows = CopilotMessage.objects.filter(chat=chat, deleted_at=None).order_by("seq")
        found = [row.content for row in rows]
        assert orjson.dumps(found, option=orjson.OPT_SORT_KEYS) == orjson.dumps(expected, option=orjson.OPT_SORT_KEYS)
        assert [row.message_id for row in rows] == [one["id"] for one in expected]
        assert len({row.seq for row in rows}) == len(found)
