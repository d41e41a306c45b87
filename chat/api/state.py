"""``/api/threads/{id}/state/``: all that a page needs to be drawn and to join a stream, in one answer.

``cursor`` is where the thread's socket is to be joined: before the live turn's first chunk, else behind the last turn
that has begun; ``0-0`` in a thread without turns. A turn that waits for decisions is among the messages, and what it
waits for in ``approvals``. ``earlier`` leads to the messages before the first one, if there are any.
"""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpResponse
from rest_framework.request import Request

from chat.api import messages, turns
from chat.api.threads import named_thread
from chat.api.views import ChatView, answer
from chat.errors import Contention
from chat.store.message_pages import read_messages
from chat.store.messages import StoredMessage
from chat.store.queue import queued_message, queued_turns
from chat.store.scope import Scope
from chat.store.sql import ATTEMPTS
from chat.store.threads import read_thread
from chat.store.turns import StoredTurn, busy_turn, last_position
from chat.streams.cursors import Cursor


class State(ChatView):
    def get(self, request: Request, thread_id: str) -> HttpResponse:
        limit = self.number("limit", 50, most=messages.PAGE)
        wanted = {name: self.flag(name) for name in ("html", "versions")}
        asker = self.asker()
        thread = named_thread(asker, thread_id)
        # What waits before what is live: a turn that is promoted between the two is told twice, not left out.
        waiting = queued_turns(asker, thread)
        # The turns first: what begins after this is behind the cursor; and if the live turn ends before the messages
        # are read, its cursor still tells the whole answer, and the answer is left out of the messages. The other way
        # round a turn could fall between the two.
        cursor = Cursor(*last_position(asker, thread))
        busy, found = _busy_and_messages(asker, thread, limit + 1)
        live = busy if busy is not None and busy.streaming else None
        if busy is not None:
            cursor = Cursor(busy.pk, 0 if live else busy.last_seq)
        earlier = None
        if len(found) > limit:
            query = urlencode(
                {"limit": limit, "before": found[1].id, **{name: "true" for name in wanted if wanted[name]}}
            )
            earlier = f"{request.path.removesuffix('state/')}messages/?{query}"
        whole = [message for message in found[-limit:] if live is None or message.id != live.assistant_message_id]
        return answer(
            {
                "thread": read_thread(asker, thread),
                "messages": messages.all_shown(whole, **wanted),
                "earlier": earlier,
                "cursor": str(cursor),
                "turn": live and {**turns.shown(live), "cursor": str(cursor)},
                "approvals": [
                    {"turn": turn["turn"], "message_id": str(turn["assistant_message_id"]), **call}
                    for turn in ([turns.shown(busy)] if busy else [])
                    for call in turn["approvals"]
                ],
                "queued": [
                    {**turns.shown(turn), "message": queued_message(turn)}
                    for turn in waiting
                    if live is None or turn.pk != live.pk
                ],
            }
        )


def _busy_and_messages(asker: Scope, thread: UUID, limit: int) -> tuple[StoredTurn | None, list[StoredMessage]]:
    """Race: a turn that waited goes on between the two reads. Its answer, which was a message, would be missing behind
    the cursor.
    """
    for _ in range(ATTEMPTS):
        busy = busy_turn(asker, thread)
        found = read_messages(asker, thread, limit=limit)
        if busy is None or not busy.waiting or busy_turn(asker, thread) == busy:
            return busy, found
    raise Contention
