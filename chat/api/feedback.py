"""What people think of answers."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from chat.api.threads import named_thread
from chat.api.views import ChatView, answer, page
from chat.protocol import sanitize
from chat.protocol.requests import FeedbackBody
from chat.store.feedback import feedback_in, give_feedback, take_feedback_back


class MessageFeedback(ChatView):
    def put(self, request: Request, pk: int) -> HttpResponse:
        """Give an opinion of an answer, or change it."""
        body = self.body(FeedbackBody)
        sanitize.check(body.comment, "comment")
        return answer(shown(give_feedback(self.asker(), pk, body.rating, body.comment)))

    def delete(self, request: Request, pk: int) -> HttpResponse:
        take_feedback_back(self.asker(), pk)
        return HttpResponse(status=204)


class ThreadFeedback(ChatView):
    def get(self, request: Request, thread_id: str) -> HttpResponse:
        """The asker's own opinions of a thread's answers."""
        asker = self.asker()
        found = feedback_in(asker, named_thread(asker, thread_id))
        return page(request, [shown(one) for one in found])


def shown(feedback: dict[str, Any]) -> dict[str, Any]:
    return {**feedback, "message_id": str(feedback["message_id"])}
