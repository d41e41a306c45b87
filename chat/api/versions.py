"""``/api/messages/{id}/``: the versions of a message, and the way back to one."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from chat.api import messages
from chat.api.views import ChatView, answer, page
from chat.store.versions import Version, read_versions, restore


class Versions(ChatView):
    def get(self, request: Request, pk: int) -> HttpResponse:
        return page(request, [shown(version) for version in read_versions(self.asker(), pk)])


class Restore(ChatView):
    def post(self, request: Request, pk: int) -> HttpResponse:
        thread = restore(self.asker(), pk)
        return answer({"thread_id": thread, "message_id": str(pk)})


def shown(version: Version) -> dict[str, Any]:
    """A version as the API tells it: the message, whether it is the current one, and how its turn ended."""
    return {
        **messages.shown(version.message),
        "is_current": version.is_current,
        "turn": version.turn,
        "status": version.status,
    }
