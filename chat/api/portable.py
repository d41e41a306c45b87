"""Threads on their way: fork, export, import."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from chat.api.threads import named_thread
from chat.api.views import ChatView, answer
from chat.errors import InvalidInput
from chat.protocol import sanitize
from chat.protocol.portable.markdown import markdown
from chat.protocol.requests import ThreadForkBody
from chat.store.crossing import stepwise
from chat.store.portable import fork_thread, read_whole
from chat.turns.portable import document_of, export_document, import_document


class OwnFormat(ChatView):
    """``?format=`` is ours to answer: the framework would look for a renderer of that name."""

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        return JSONRenderer(), JSONRenderer.media_type


class ForkThread(ChatView):
    def post(self, request: Request, thread_id: str) -> HttpResponse:
        """A new thread with the history up to and with a message."""
        body = self.body(ThreadForkBody)
        sanitize.check(body.title, "title")
        asker = self.asker()
        return answer(fork_thread(asker, named_thread(asker, thread_id), body.message_id, body.title), status=201)


class ExportThread(OwnFormat):
    def get(self, request: Request, thread_id: str) -> HttpResponse:
        """One thread, as JSON with all versions or as Markdown."""
        kind = request.query_params.get("format", "json")
        if kind not in ("json", "markdown"):
            raise InvalidInput("format", "format is json or markdown.")
        asker = self.asker()
        thread = read_whole(asker, named_thread(asker, thread_id))
        if kind == "json":
            response = answer(document_of(thread))
        else:
            response = HttpResponse(markdown(thread), content_type="text/markdown; charset=utf-8")
        name = re.sub(r"[^A-Za-z0-9]+", "-", thread["title"])[:60].strip("-") or "thread"
        extension = "json" if kind == "json" else "md"
        response["Content-Disposition"] = f'attachment; filename="{name}.{extension}"'
        response["X-Content-Type-Options"] = "nosniff"
        return response


class Export(ChatView):
    def get(self, request: Request) -> StreamingHttpResponse:
        """All threads of the asker, as one JSON document."""
        return StreamingHttpResponse(
            stepwise(export_document(self.asker())),
            content_type="application/json",
            headers={"Content-Disposition": 'attachment; filename="threads.json"', "X-Content-Type-Options": "nosniff"},
        )


class Import(ChatView):
    def post(self, request: Request) -> HttpResponse:
        """Threads of the asker's out of our own export, ChatGPT's conversations.json or Open WebUI's chats."""
        return answer(asdict(import_document(self.asker(), self.document())))
