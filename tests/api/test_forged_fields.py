"""Fields that are the server's to fill, in every body that makes or changes a row: as if they were not said."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser

from chat.models import CopilotChat, Message, Thread, TokenUsage, Turn
from chat.testing.client import Client, said

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
LONG_AGO = "2001-01-01T00:00:00Z"
WORDS = [{"type": "text", "text": "Hello"}]


@pytest.fixture
def forged(other_user: AbstractUser) -> dict[str, Any]:
    whose = dict.fromkeys(("owner", "owner_id", "user", "user_id", "author", "author_id"), other_user.pk)
    when = dict.fromkeys(
        ("created_at", "updated_at", "deleted_at", "finished_at", "heartbeat_at", "current_at"), LONG_AGO
    )
    how = {"status": "completed", "is_current": False, "trigger_": "inbox", "epoch": 99, "seq": 99, "last_seq": 99}
    more = {
        "pk": 999_999,
        "version_of": 1,
        "parent_id": 1,
        "messages_version": 99,
        "active_stream_id": "x",
        "usage": {},
    }
    return {**whose, **when, **how, **more, "is_superuser": True, "cost_micros": 10**9, "prompt_tokens": 10**6}


async def test_a_send_says_nothing_but_what_is_said(client: Client, user: AbstractUser, forged: dict[str, Any]) -> None:
    body = forged | said("t1", "/tokens 2 0", "m1")
    body["messages"][0] |= forged | {"role": "user"}
    assert (await client.request("POST", "/api/chat", body)).status == 200
    turn = await Turn.objects.aget()
    assert (turn.user_id, turn.status, turn.trigger, turn.epoch) == (user.pk, "completed", "submit", 1)
    assert turn.last_seq != 99
    question, answer = [one async for one in Message.objects.order_by("pk")]
    assert (question.role, question.author_id, answer.role, answer.author_id) == ("user", user.pk, "assistant", None)
    usage = await TokenUsage.objects.aget()
    assert (usage.user_id, usage.total_tokens < 100, usage.cost_micros < 10**9) == (user.pk, True, True)
    await assert_own(user)


async def test_a_send_speaks_for_nobody_else(client: Client) -> None:
    for role in ("system", "assistant", "tool", "developer"):
        body = said("t1", "/tokens 2 0", "m1")
        body["messages"][0]["role"] = role
        assert (await client.request("POST", "/api/chat", body)).status in (400, 404), role
    assert not await Message.objects.aexists()


async def test_a_thread_is_its_maker_s_from_now_on(client: Client, user: AbstractUser, forged: dict[str, Any]) -> None:
    assert (await client.request("POST", "/api/threads/", {**forged, "id": "t1", "title": "Mine"})).status == 201
    assert (await client.request("PATCH", "/api/threads/t1/", {**forged, "title": "Ours"})).status == 200
    assert (await Thread.objects.aget()).title == "Ours"
    await assert_own(user)


async def test_an_appended_message_is_its_sender_s_and_current(
    client: Client, user: AbstractUser, forged: dict[str, Any]
) -> None:
    await client.request("POST", "/api/threads/", {"id": "t1"})
    for role in ("system", "tool"):
        refused = await client.request("POST", "/api/threads/t1/messages/", {**forged, "role": role, "parts": WORDS})
        assert (refused.status, refused.json()["error"]["field"]) == (400, "role")
    body = {**forged, "role": "user", "parts": WORDS}
    assert (await client.request("POST", "/api/threads/t1/messages/", body)).status == 201
    assert (await Message.objects.aget()).author_id == user.pk
    await assert_own(user)


async def test_a_copilot_chat_is_its_maker_s(client: Client, user: AbstractUser, forged: dict[str, Any]) -> None:
    made = await client.request("POST", "/api/copilot/chats/", {**forged, "title": "Mine", "messages": WORDS})
    assert made.status == 201
    path = f"/api/copilot/chats/{made.json()['id']}/"
    assert (await client.request("PATCH", path, {**forged, "title": "Ours", "messages": WORDS})).status == 200
    chat = await CopilotChat.objects.aget()
    assert (chat.user_id, chat.title, chat.messages, chat.messages_version) == (user.pk, "Ours", [], 0)
    assert (chat.active_stream_id, chat.created_at.year > 2001) == (None, True)


async def assert_own(user: AbstractUser) -> None:
    """Every row is the asker's, from now on, and current."""
    thread = await Thread.objects.aget()
    assert (thread.owner_id, thread.deleted_at, thread.created_at.year > 2001) == (user.pk, None, True)
    async for message in Message.objects.all():
        assert (message.is_current, message.deleted_at, message.version_of_id) == (True, None, None)
        assert message.pk != 999_999
        assert message.created_at.year > 2001
