"""``/api/copilot/chats/``: list, create, read, rename, delete, replace, fork; and the import."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import orjson
from django.http import HttpResponse
from rest_framework.request import Request

from chat.api import turns
from chat.api.views import ChatView, answer, page, position_of
from chat.errors import NotFound
from chat.protocol import sanitize
from chat.protocol.copilot import (
    OLD_NAME_LENGTH,
    ChatSettingsBody,
    ForkBody,
    ImportBody,
    ReplaceBody,
    checked_elements,
)
from chat.store import chats, copilot
from chat.streams.cursors import Cursor
from chat.turns.copilot import chat_uuid, stop_and_delete

PAGE = 200
# A client that saves whole arrays reads whole arrays.
MESSAGES = 1000


class Chats(ChatView):
    def get(self, request: Request) -> HttpResponse:
        limit = self.number("limit", 50, most=PAGE)
        found = chats.list_chats(self.asker(), after=self.position(), limit=limit + 1)
        more = {"after": position_of(found[limit - 1])} if len(found) > limit else None
        return page(request, found[:limit], more=more)

    def post(self, request: Request) -> HttpResponse:
        return answer(chats.create_chat(self.asker(), **settings_of(self.body(ChatSettingsBody))), status=201)


class Chat(ChatView):
    def get(self, request: Request, chat_id: str) -> HttpResponse:
        """The chat with its last messages, or with those in front of ``before``, and its live turn."""
        limit = self.number("limit", 50, most=MESSAGES)
        before = request.query_params.get("before")
        if before is not None:
            sanitize.check(before, "before", OLD_NAME_LENGTH)
        opened = chats.open_chat(self.asker(), chat_uuid(chat_id), before=before, limit=limit + 1)
        shown, earlier = opened.messages[-limit:], None
        if len(opened.messages) > limit:
            earlier = f"{request.path}?{urlencode({'limit': limit, 'before': shown[0].message_id})}"
        live = opened.live
        return answer(
            {
                **opened.chat,
                "messages": [orjson.Fragment(one.content) for one in shown],
                "earlier": earlier,
                "active_stream_id": live and live.turn_id,
                "turn": live and {**turns.shown(live), "cursor": str(Cursor(live.pk, 0))},
            }
        )

    def patch(self, request: Request, chat_id: str) -> HttpResponse:
        changes = settings_of(self.body(ChatSettingsBody))
        return answer(chats.update_chat(self.asker(), chat_uuid(chat_id), **changes))

    def delete(self, request: Request, chat_id: str) -> HttpResponse:
        stop_and_delete(self.asker(), chat_uuid(chat_id))
        return HttpResponse(status=204)


class UpdateMessages(ChatView):
    def post(self, request: Request, chat_id: str) -> HttpResponse:
        """Replace the whole history, as it was read at ``messages_version``."""
        body = self.body(ReplaceBody)
        version = copilot.replace_messages(
            self.asker(),
            chat_uuid(chat_id),
            checked_elements(body.messages),
            version=body.messages_version,
            config=_checked(body.config, "config"),
        )
        return answer({"messages_version": version, "count": len(body.messages)})


class Fork(ChatView):
    def post(self, request: Request, chat_id: str) -> HttpResponse:
        """A new chat with the history up to and with a message."""
        body = self.body(ForkBody)
        sanitize.check(body.up_to_message_id, "upToMessageId")
        asker = self.asker()
        made = copilot.fork_chat(asker, chat_uuid(chat_id), body.up_to_message_id)
        return answer(chats.read_chat(asker, made), status=201)


class Import(ChatView):
    def post(self, request: Request) -> HttpResponse:
        """Take over another system's chats; for superusers, and nobody else learns that there is such a thing."""
        asker = self.asker()
        if not getattr(request.user, "is_superuser", False):
            raise NotFound
        body = self.body(ImportBody)
        for index, chat in enumerate(body.chats):
            for field in ("title", "model", "config"):
                sanitize.check(getattr(chat, field), f"chats.{index}.{field}")
            checked_elements(chat.messages, f"chats.{index}.messages")
        made = chats.import_chats(body.user, asker, [chat.model_dump() for chat in body.chats])
        return answer({"results": [{"id": one} for one in made]}, status=201)


def settings_of(body: ChatSettingsBody) -> dict[str, Any]:
    """What a body sets. Raises InvalidInput for values that could not be read back."""
    return {field: _checked(value, field) for field, value in body.model_dump(exclude_none=True).items()}


def _checked(value: Any, field: str) -> Any:
    sanitize.check(value, field)
    return value
