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
from chat.store.message_pages import messages_as_json, read_messages
from chat.store.messages import StoredMessage, append_message, read_message
from chat.store.usage import UsageFigures
from chat.store.versions import versions_of

PAGE = 200
LARGEST_ID = 2**63 - 1


class Messages(ChatView):
    def get(self, request: Request, thread_id: str) -> HttpResponse:
        limit = self.number("limit", 50, most=PAGE)
        before = None
        if "before" in request.query_params:
            before = self.number("before", 1, most=LARGEST_ID)
        html, versions = self.flag("html"), self.flag("versions")
        asker = self.asker()
        thread = named_thread(asker, thread_id)
        if html or versions:
            found = read_messages(asker, thread, before=before, limit=limit + 1)
            earlier = found[1].id if len(found) > limit else None
            results: list[Any] | orjson.Fragment = all_shown(found[-limit:], html=html, versions=versions)
        else:
            text, earlier = messages_as_json(asker, thread, before=before, limit=limit)
            results = orjson.Fragment(text)
        return page(request, results, more={"before": earlier} if earlier else None)

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
        (told,) = all_shown([read_message(self.asker(), pk)], html=self.flag("html"), versions=self.flag("versions"))
        return answer(told)


def all_shown(messages: list[StoredMessage], *, html: bool = False, versions: bool = False) -> list[dict[str, Any]]:
    """Messages as the API tells them. ``html``: with an answer's texts as a page may show them. ``versions``: with the
    ids of the versions that have been current, where there are several.
    """
    several = versions_of([message.id for message in messages]) if versions and messages else {}
    told = []
    for message in messages:
        one = shown(message)
        if html and message.role == "assistant":
            one["html"] = rendered_parts(orjson.loads(orjson.dumps(message.parts)))
        if message.id in several:
            one["versions"] = [str(pk) for pk in several[message.id]]
        told.append(one)
    return told


def shown(message: StoredMessage) -> dict[str, Any]:
    """A message as the API tells it. The id is text, as the AI SDK has it and as the stream's ``start`` says it."""
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
