"""``/api/turns/{pk}``: how a turn stands."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from chat.api.views import ChatView, answer
from chat.store.turns import StoredTurn, read_turn


class Turn(ChatView):
    def get(self, request: Request, pk: int) -> HttpResponse:
        return answer(shown(read_turn(self.asker(), pk)))


def shown(turn: StoredTurn) -> dict[str, Any]:
    """A turn as the API tells it; ``approvals`` are the calls on which it waits for decisions."""
    return {
        "turn": turn.pk,
        "thread_id": turn.thread_id,
        "copilot_chat_id": turn.copilot_chat_id,
        "turn_id": turn.turn_id,
        "status": turn.status,
        "trigger": turn.trigger,
        "model": turn.model,
        "finish_reason": turn.finish_reason,
        "error_code": turn.error_code,
        "error_text": turn.error_text,
        "user_message_id": turn.user_message_id,
        "assistant_message_id": turn.assistant_message_id,
        "approvals": [call for call in turn.approvals if call["status"] == "pending"],
        "created_at": turn.created_at,
        "finished_at": turn.finished_at,
    }
