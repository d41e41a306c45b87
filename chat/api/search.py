"""``/api/search/``: titles and messages by their words, best first."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from chat.api.views import ChatView, page
from chat.errors import InvalidInput
from chat.store.search import HitPosition, search

PAGE = 100


class Search(ChatView):
    def get(self, request: Request) -> HttpResponse:
        limit = self.number("limit", 20, most=PAGE)
        q, after = self.words(), self._after()
        if not q.strip():
            raise InvalidInput("q", "q says what to look for.")
        found = search(self.asker(), q, after=after, limit=limit + 1)
        more = {"after": _position(found[limit - 1])} if len(found) > limit else None
        return page(request, [_shown(hit) for hit in found[:limit]], more=more)

    def _after(self) -> HitPosition | None:
        text = self.request.query_params.get("after")
        if text is None:
            return None
        rank, _, entry = text.partition("~")
        try:
            return HitPosition(float.fromhex(rank), int(entry[:20]))
        except (ValueError, OverflowError):
            raise InvalidInput("after", "after is taken from the next of a page.") from None


def _position(hit: dict[str, Any]) -> str:
    return f"{hit['rank'].hex()}~{hit['entry']}"


def _shown(hit: dict[str, Any]) -> dict[str, Any]:
    """A hit as the API tells it: ``message`` is null where the title is meant."""
    return {
        "thread": {"id": hit["thread_id"], "title": hit["title"], "archived_at": hit["archived_at"]},
        "message": hit["message_id"]
        and {"id": str(hit["message_id"]), "role": hit["role"], "created_at": hit["created_at"]},
        "snippet": hit["snippet"],
        "rank": hit["rank"],
    }
