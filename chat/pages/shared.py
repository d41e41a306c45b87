"""The page that a link to a thread opens, for anybody: what was said, for reading. It needs no script."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from chat.access import throttle
from chat.errors import InvalidInput, NotFound, TooManyRequests
from chat.protocol.markdown import rendered_parts
from chat.protocol.requests import checked_name
from chat.store.shares import read_share


@login_not_required  # where the host has LoginRequiredMiddleware
@require_safe
@never_cache  # once it is revoked, it shows nothing, and at once
def shared(request: HttpRequest, secret: str) -> HttpResponse:
    """A link that was revoked, has expired or never was, is one and the same 404; a stranger who asks too much, 429."""
    context: dict[str, Any]
    headers = {"X-Robots-Tag": "noindex", "Referrer-Policy": "no-referrer"}  # it is not told to others by a browser
    try:
        throttle.strangers.take(request.META.get("REMOTE_ADDR"))
        found = read_share(checked_name(secret, "secret"))
    except (NotFound, InvalidInput):
        reason = "It was revoked, has expired, or is not complete. Who sent it to you can make another one."
        context, status = {"title": "This link shows nothing", "reason": reason}, 404
    except TooManyRequests as problem:
        context, status = {"title": "A moment, please", "reason": problem.text}, 429
        headers["Retry-After"] = str(problem.details["retry_after"])
    else:
        title = found["title"].strip() or "Untitled thread"
        messages = [_shown(message) for message in found["messages"]]
        context, status = {"title": title, "messages": messages, "created_at": found["created_at"]}, 200
    response = render(request, "chat/shared.html", context, status=status)
    for name, value in headers.items():
        response[name] = value
    return response


def _shown(message: dict[str, Any]) -> dict[str, Any]:
    """A message of a snapshot as the template wants it: an answer's texts are HTML, a question's are not."""
    parts = message["parts"]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    if message["role"] == "assistant":  # links of older versions have no HTML
        texts = message["html"] if "html" in message else rendered_parts(parts)
    return {
        "role": message["role"],
        "texts": texts,
        "files": [part["filename"] or part["mediaType"] for part in parts if part["type"] == "file"],
        "sources": [part for part in parts if part["type"] == "source-url"],
    }
