"""``/api/threads/{id}/state/``: all that a page needs to be drawn and to join a stream, in one answer."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from chat.api import messages, turns
from chat.api.threads import named_thread
from chat.api.views import ChatView, answer
from chat.store.messages import read_messages
from chat.store.queue import queued_message, queued_turns
from chat.store.threads import read_thread
from chat.store.turns import live_turn
from chat.streams.cursors import Cursor


class State(ChatView):
    def get(self, request: Request, thread_id: str) -> HttpResponse:
        limit = self.number("limit", 50, most=messages.PAGE)
        asker = self.asker()
        thread = named_thread(asker, thread_id)
        # The turn first: if it ends before the messages are read, its cursor still tells the whole answer, and the
        # answer is left out of the messages. The other way round it would fall between the two.
        live = live_turn(asker, thread)
        shown = [
            messages.shown(message)
            for message in read_messages(asker, thread, limit=limit)
            if live is None or message.id != live.assistant_message_id
        ]
        return answer(
            {
                "thread": read_thread(asker, thread),
                "messages": shown,
                "turn": live and {**turns.shown(live), "cursor": str(Cursor(live.pk, 0))},
                "approvals": [],
                "queued": [
                    {**turns.shown(turn), "message": queued_message(turn)} for turn in queued_turns(asker, thread)
                ],
            }
        )
