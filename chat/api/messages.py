"""``/api/threads/{id}/messages/``: pages of a thread, and the legacy append."""

from __future__ import annotations

from typing import Any

import orjson
from django.http import HttpResponse
from rest_framework.request import Request

from chat import conf
from chat.api.threads import named_thread
from chat.api.views import ChatView, answer, page
from chat.errors import InvalidInput
from chat.protocol.markdown import rendered_parts
from chat.protocol.requests import AppendBody, append_parts
from chat.store.messages import StoredMessage, append_message, read_message, read_messages
from chat.store.usage import UsageFigures

PAGE = 200
LARGEST_ID = 2**63 - 1


class Messages(ChatView):
    def get(self, request: Request, thread_id: str) -> HttpResponse:
        limit = self.number("limit", 50, most=PAGE)
        before = None
        if "before" in request.query_params:
            before = self.number("before", 1, most=LARGEST_ID)
        asker = self.asker()
        found = read_messages(asker, named_thread(asker, thread_id), before=before, limit=limit + 1)
        more = {"before": found[1].id} if len(found) > limit else None
        html = self.flag("html")
        return page(request, [shown(message, html=html) for message in found[-limit:]], more=more)

    def post(self, request: Request, thread_id: str) -> HttpResponse:
        """The legacy append, for recovery only: the server itself writes every message of a turn."""
        body = self.body(AppendBody)
        parts = append_parts(body, max_chars=conf.get("MAX_MESSAGE_CHARS"))
        if body.role == "assistant" and body.turn_id is None:
            raise InvalidInput("turn_id", "An assistant message belongs to a turn.")
        usage = None
        if body.token_usage is not None:
            usage = UsageFigures(source="reported", **body.token_usage.model_dump())
        asker = self.asker()
        message = append_message(
            asker,
            named_thread(asker, thread_id),
            body.role,
            parts,
            turn_id=body.turn_id,
            usage=usage,
            client_id=body.id,
        )
        response = answer(shown(message), status=201 if message.created else 200)
        response["Deprecation"] = "true"
        return response


class Message(ChatView):
    def get(self, request: Request, pk: int) -> HttpResponse:
        return answer(shown(read_message(self.asker(), pk), html=self.flag("html")))


def shown(message: StoredMessage, *, html: bool = False) -> dict[str, Any]:
    """A message as the API tells it. The id is text, as the AI SDK has it and as the stream's ``start`` says it.
    ``html``: with an answer's texts as a page may show them.
    """
    told = _told(message)
    if html and message.role == "assistant":
        told["html"] = rendered_parts(orjson.loads(orjson.dumps(message.parts)))
    return told


def _told(message: StoredMessage) -> dict[str, Any]:
    return {
        "id": str(message.id),
        "role": message.role,
        "parts": message.parts,
        "metadata": message.metadata,
        "turn_id": message.turn_id,
        "client_id": message.client_id,
        "created_at": message.created_at,
        "usage": message.usage,
    }
