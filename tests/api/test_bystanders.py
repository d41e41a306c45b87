"""What is done to one conversation changes nothing in any other, though all names in them are the same."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth.models import AbstractUser
from django.core.management import call_command
from django.db.models import Q

from chat.access.scopes import scope_of
from chat.models import Attachment, CopilotChat, Message, Thread, Turn
from chat.store.attachments import save_attachment
from chat.store.threads import find_thread
from chat.testing.client import Client, said

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
THREAD, CHATS = "/api/threads/t1/", "/api/copilot/chats/"


@sync_to_async
def rows_of(threads: list[Any], chats: list[Any], users: list[Any]) -> dict[str, list[dict[str, Any]]]:
    """Every row of these conversations and of these users, by table."""
    turns = list(Turn.objects.filter(Q(thread__in=threads) | Q(copilot_chat__in=chats)).values_list("pk", flat=True))
    of = {"thread": threads, "copilot_chat": chats, "chat": chats, "user": users, "turn": turns}
    found = {}
    for model in apps.get_app_config("chat").get_models():
        names = {field.name for field in model._meta.fields if field.is_relation}
        theirs = Q(pk__in={Thread: threads, CopilotChat: chats}.get(model, []))
        for name in names & of.keys():
            theirs |= Q(**{f"{name}__in": of[name]})
        if "owner" in names:
            theirs |= Q(owner__in=users)
        found[model.__name__] = list(model.objects.filter(theirs).order_by("pk").values())
    return found


async def conversation(client: Client, thread: str) -> str:
    """A thread with an answer, another one and an edit, shared and rated; the id of its last answer."""
    for body in (said(thread, "/tokens 2 0", "m1"), {**said(thread, "", ""), "trigger": "regenerate-message"}):
        body["messages"][0]["id"] = "m1"
        assert (await client.request("POST", "/api/chat", body)).status == 200
    assert (await client.send(thread, "/tokens 1 0", "m2")).status == 200
    messages = (await client.request("GET", f"/api/threads/{thread}/messages/")).json()["results"]
    answer: str = messages[-1]["id"]
    await client.request("PUT", f"/api/messages/{answer}/feedback/", {"rating": "up"})
    await client.request("POST", f"/api/threads/{thread}/shares/", {})
    return answer


@sync_to_async
def attach(user: AbstractUser, thread: str) -> None:
    """A file of the user's in a thread of theirs."""
    scope = scope_of(user)
    kept = save_attachment(scope, BytesIO(b"x"), filename="a", media_type="text/plain", size=1)
    Attachment.objects.filter(pk=kept["id"]).update(thread=find_thread(scope, thread))


async def copilot_chat(client: Client, message: str = "m1") -> str:
    body = {"message": "/tokens 1 0", "userMessageId": message, "createNewChat": True}
    sent = await client.request("POST", "/api/copilot/chat", body)
    chat: str = sent.chunks()[0]["messageMetadata"]["copilot_chat_id"]
    return chat


async def test_what_is_done_to_one_conversation_changes_no_other(
    client: Client, other_client: Client, user: AbstractUser, other_user: AbstractUser
) -> None:
    answers = [
        await conversation(client, "t1"),
        await conversation(client, "t2"),
        await conversation(other_client, "t1"),
    ]
    for owner, name in ((user, "t1"), (user, "t2"), (other_user, "t1")):
        await attach(owner, name)
    chats = [await copilot_chat(client), await copilot_chat(client, "m2"), await copilot_chat(other_client)]
    mine = await Thread.objects.aget(owner=user, client_id="t1")
    threads = [pk async for pk in Thread.objects.exclude(pk=mine.pk).values_list("pk", flat=True)]
    world: tuple[Any, ...] = (threads, chats[1:], [other_user.pk])
    before = await rows_of(*world)
    held = ("Thread", "Message", "Turn", "TokenUsage", "StreamEvents", "Feedback", "Share", "Attachment")
    assert all(before[name] for name in held)

    async def do(method: str, path: str, body: Any = None, status: int = 200) -> Any:
        done = await client.request(method, path, body)
        assert done.status == status, (path, done.body)
        assert await rows_of(*world) == before, f"{method} {path}"
        return done

    edit = {**said("t1", "/tokens 3 0", "m2"), "messageId": "m2"}
    await do("POST", "/api/chat", edit)
    await do("POST", f"/api/messages/{answers[0]}/restore/", {})
    await do("POST", "/api/chat", {**edit, "trigger": "regenerate-message", "messageId": answers[0]})
    await do("DELETE", f"/api/messages/{answers[0]}/feedback/", status=204)
    await do("PATCH", THREAD, {"title": "Mine", "metadata": {"a": 1}, "archived": True})
    (share,) = (await client.request("GET", f"{THREAD}shares/")).json()["results"]
    await do("DELETE", f"/api/shares/{share['id']}/", status=204)
    await do("POST", f"{THREAD}messages/", {"role": "user", "content": "x", "turn_id": "t9"}, 201)
    waiting = await do("POST", "/api/chat", said("t1", "/approve", "m5"))
    turn = next(chunk["data"]["turn"] for chunk in waiting.chunks() if chunk["type"] == "data-turn")
    call = next(chunk["toolCallId"] for chunk in waiting.chunks() if chunk["type"] == "tool-approval-request")
    decision = {"tool_call_id": call, "approved": False}
    await do("POST", f"/api/turns/{turn}/approvals/", {"decisions": [decision]})
    while await Turn.objects.filter(status="streaming").aexists():
        await asyncio.sleep(0.01)
    await do("POST", "/api/chat/t1/stop", {})
    await do("DELETE", THREAD, status=204)
    await do("POST", f"{THREAD}restore/")
    await do("DELETE", THREAD, status=204)
    await do("POST", f"{THREAD}purge/", status=204)
    assert not await Message.objects.filter(thread=mine.pk).aexists()

    chat = f"{CHATS}{chats[0]}/"
    await do("POST", "/api/copilot/chat", {"message": "/tokens 2 0", "userMessageId": "m2", "chatId": chats[0]})
    await do("PATCH", chat, {"title": "Mine", "model": "large"})
    page = (await client.request("GET", chat)).json()
    replaced = {"messages": page["messages"][:1], "messages_version": page["messages_version"]}
    await do("POST", f"{chat}update-messages/", replaced)
    await do("DELETE", chat, status=204)

    theirs: tuple[Any, ...] = ([], [], [other_user.pk])
    before = await rows_of(*theirs)
    await sync_to_async(call_command)("erase_user", user.get_username(), "--json")
    assert await rows_of(*theirs) == before
