"""The admin's pages as text, and the rows that fill them."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.models import ApiToken, Attachment, CopilotChat, Feedback, Share, Turn
from tests.factories import ApprovalFactory, MessageFactory, ThreadFactory, TurnFactory, UsageFactory


def list_url(model: type[Model]) -> str:
    return reverse(f"admin:chat_{model._meta.model_name}_changelist")


def page_url(row: Model, page: str = "change") -> str:
    return reverse(f"admin:chat_{row._meta.model_name}_{page}", args=[row.pk])


def html(client: Client, url: str, **query: Any) -> str:
    """A page's markup, as sent. The page must be there."""
    answer = client.get(url, query)
    assert answer.status_code == 200, (url, answer.status_code)
    return answer.content.decode()


def words(markup: str) -> str:
    """What a reader of the page's main part sees, on one line."""
    main = markup.partition('id="content"')[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", main)).split())


def said(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}]


def answered(number: int = 0, **of_turn: Any) -> Turn:
    """A turn of a thread of its own, with its two messages and its usage."""
    of_turn = {"started_at": timezone.now(), "finished_at": timezone.now(), "model": "small", **of_turn}
    turn = TurnFactory.create(**({} if "thread" in of_turn else {"thread": ThreadFactory.create()}), **of_turn)
    MessageFactory.create(thread=turn.thread, turn_id=turn.turn_id, author=turn.user, parts=said(f"Question {number}"))
    answer = MessageFactory.create(
        thread=turn.thread, turn_id=turn.turn_id, role="assistant", parts=said(f"Answer {number}")
    )
    UsageFactory.create(turn=turn, message=answer, cost_micros=1500)
    return turn


def copilot_chat(**fields: Any) -> CopilotChat:
    return CopilotChat.objects.create(user=ThreadFactory.create().owner, title="Old product", **fields)


def token(**fields: Any) -> ApiToken:
    number = ApiToken.objects.count()
    return ApiToken.objects.create(
        user=ThreadFactory.create().owner, name=f"laptop {number}", digest=f"{number:064x}", **fields
    )


def feedback(**fields: Any) -> Feedback:
    message = MessageFactory.create(role="assistant", parts=said("What was said"))
    return Feedback.objects.create(**{"message": message, "user": message.thread.owner, "rating": "down", **fields})


def share(**fields: Any) -> Share:
    thread = ThreadFactory.create(title="Shared plans")
    snapshot = {"title": thread.title, "messages": [{"role": "user", "parts": said("What was said")}]}
    digest = f"{Share.objects.count() + 0xABC:064x}"
    return Share.objects.create(
        **{"thread": thread, "owner": thread.owner, "digest": digest, "snapshot": snapshot, **fields}
    )


def attachment(**fields: Any) -> Attachment:
    thread = ThreadFactory.create()
    made = {"thread": thread, "owner": thread.owner, "key": f"chat/{Attachment.objects.count()}"}
    return Attachment.objects.create(
        **{**made, "filename": "map.png", "media_type": "image/png", "size": 2048, **fields}
    )


def one_of_each() -> list[Model]:
    """A row of every model that the admin shows."""
    turn = answered()
    assert turn.thread is not None
    chat = copilot_chat(messages=[{"id": "1"}])
    approval = ApprovalFactory.create(turn=turn)
    copilot_turn = TurnFactory.create(thread=None, copilot_chat=chat, user=chat.user)
    return [
        turn.thread,
        turn,
        copilot_turn,
        turn.thread.messages.first(),
        turn.usage.first(),
        approval,
        chat,
        token(),
        feedback(),
        share(),
        attachment(),
    ]  # type: ignore[list-item]
