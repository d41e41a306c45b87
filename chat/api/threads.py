"""``/api/threads/``: list, create, read, rename, archive, delete, restore, purge."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from chat.agents.models import require_allowed
from chat.api.views import ChatView, answer, page, position_of
from chat.errors import InvalidInput
from chat.protocol import sanitize
from chat.protocol.requests import ThreadBody, checked_name
from chat.store import threads
from chat.store.scope import Scope
from chat.store.trash import deleted_threads, find_deleted_thread, purge_thread, restore_thread
from chat.turns.stop import stop_all

PAGE = 200


class Threads(ChatView):
    def get(self, request: Request) -> HttpResponse:
        limit = self.number("limit", 50, most=PAGE)
        after = self._after()
        chosen: dict[str, Any] = {"q": self.words(), "archived": self._archived(), "mine": self.flag("mine")}
        if self.flag("deleted"):
            found = deleted_threads(self.asker(), after=after, limit=limit + 1)
        else:
            found = threads.list_threads(self.asker(), after=after, limit=limit + 1, **chosen)
        more = None
        if len(found) > limit:
            more = {"after": position_of(found[limit - 1])}
        return page(request, found[:limit], more=more)

    def post(self, request: Request) -> HttpResponse:
        body = self.body(ThreadBody)
        if body.archived is not None:
            raise InvalidInput("archived", "A new thread cannot be archived.")
        check(body)
        made = threads.create_thread(self.asker(), title=body.title or "", client_id=body.id, metadata=body.metadata)
        return answer(made, status=201)

    def _after(self) -> threads.ThreadPosition | None:
        position = self.position()
        return None if position is None else threads.ThreadPosition(*position)

    def _archived(self) -> bool | None:
        text = self.request.query_params.get("archived", "false")
        if text not in ("true", "false", "all"):
            raise InvalidInput("archived", "archived is true, false or all.")
        return None if text == "all" else text == "true"


class Thread(ChatView):
    def get(self, request: Request, thread_id: str) -> HttpResponse:
        asker = self.asker()
        return answer(threads.read_thread(asker, named_thread(asker, thread_id)))

    def patch(self, request: Request, thread_id: str) -> HttpResponse:
        body = self.body(ThreadBody)
        check(body)
        asker = self.asker()
        return answer(
            threads.update_thread(
                asker,
                named_thread(asker, thread_id),
                title=body.title,
                metadata=body.metadata,
                archived=body.archived,
            )
        )

    def delete(self, request: Request, thread_id: str) -> HttpResponse:
        asker = self.asker()
        thread = named_thread(asker, thread_id)
        threads.delete_thread(asker, thread)
        stop_all(thread)
        return HttpResponse(status=204)


class RestoreThread(ChatView):
    def post(self, request: Request, thread_id: str) -> HttpResponse:
        """Take a thread out of the trash."""
        return answer(restore_thread(self.asker(), checked_name(thread_id, "thread_id")))


class PurgeThread(ChatView):
    def post(self, request: Request, thread_id: str) -> HttpResponse:
        """Delete a thread in the trash for good."""
        asker = self.asker()
        thread = find_deleted_thread(asker, checked_name(thread_id, "thread_id"))
        stop_all(thread)  # a deletion that was cut off has left them
        purge_thread(asker, thread)
        return HttpResponse(status=204)


def named_thread(asker: Scope, name: str) -> uuid.UUID:
    """The thread that a URL names, by its id or by the id its owner's client chose."""
    return threads.find_thread(asker, checked_name(name, "thread_id"))


def check(body: ThreadBody) -> None:
    """Raises InvalidInput for values that could not be read back, and for a model that may not be chosen."""
    require_allowed((body.metadata or {}).get("model"), "metadata.model")
    values: dict[str, Any] = {"title": body.title, "metadata": body.metadata}
    for field, value in values.items():
        sanitize.check(value, field)
