"""What tests of copilot turns share: sending, and reading back what is stored."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from django.conf import settings

from chat.conf import Phase
from chat.models import CopilotChat, CopilotMessage
from chat.testing.client import Client, Response
from chat.testing.invariants import EndedTurn, assert_database_is_sound
from tests.copilot.chats import assert_mirrored, chat_with

made = sync_to_async(chat_with)
sound = sync_to_async(assert_database_is_sound)


def body(chat: uuid.UUID | None, message: str, name: str | None = None, **keys: Any) -> dict[str, Any]:
    """The body of a send to a chat, or to a new one."""
    named = {} if name is None else {"userMessageId": name}
    where = {"createNewChat": True} if chat is None else {"chatId": str(chat)}
    return {"message": message, **where, **named, **keys}


async def send(client: Client, chat: uuid.UUID | None, message: str, name: str | None = None, **keys: Any) -> Response:
    """Send a message and read the whole stream."""
    return await client.request("POST", "/api/copilot/chat", body(chat, message, name, **keys))


@sync_to_async
def assert_shown_is_stored(chunks: list[dict[str, Any]]) -> EndedTurn:
    """``chunks`` is the last turn's whole stream: its log, chunk by chunk, and each prefix folds to valid parts. With
    it every invariant holds. Returns that turn.
    """
    turn = assert_database_is_sound(prefixes=True)[-1]
    assert list(map(orjson.loads, turn.log)) == chunks
    return turn


@sync_to_async
def stored(chat: uuid.UUID) -> list[dict[str, Any]]:
    """The chat's history as the phase has it; where array and mirror both have it, they are the same."""
    phase = getattr(settings, "COPILOT_MESSAGES_PHASE", Phase.DUAL)
    if phase == Phase.MIRROR_ONLY:
        rows = CopilotMessage.objects.filter(chat=chat, deleted_at=None).order_by("seq")
        return [row.content for row in rows]
    if phase != Phase.JSONB:
        assert_mirrored(chat)
    history: list[dict[str, Any]] = CopilotChat.objects.get(pk=chat).messages
    return history
