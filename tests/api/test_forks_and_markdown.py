"""What is made of a thread: another one, and a text to read."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractUser

from chat.models import Message, Thread, Turn
from chat.protocol.portable.markdown import markdown
from chat.store.portable import read_whole
from chat.store.scope import Scope
from chat.testing.client import Client
from chat.turns.portable import import_document
from tests.api.foreign_files import open_webui
from tests.factories import MessageFactory, ThreadFactory, TurnFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def test_a_fork_is_the_history_up_to_a_message_and_goes_its_own_way(client: Client) -> None:
    await client.send("t1", "/tokens 1 0", "m1")
    await client.send("t1", "/tokens 2 0", "m2")
    await client.send("t1", "/tokens 3 0", "m3")
    messages = (await client.request("GET", "/api/threads/t1/messages/")).json()["results"]
    forked = await client.request("POST", "/api/threads/t1/fork/", {"message_id": messages[3]["id"]})
    thread = forked.json()
    assert (forked.status, thread["title"]) == (201, "Fork | /tokens 1 0")
    path = f"/api/threads/{thread['id']}/messages/"
    copied = (await client.request("GET", path)).json()["results"]
    assert [one["parts"] for one in copied] == [one["parts"] for one in messages[:4]]
    assert [one["client_id"] for one in copied] == ["m1", None, "m2", None]
    assert all(one["usage"] is None for one in copied)
    assert (await client.send(thread["id"], "/tokens 4 0", "m4")).status == 200
    again = await client.request("POST", "/api/chat", {"id": thread["id"], "trigger": "regenerate-message"})
    assert again.status == 200
    assert len((await client.request("GET", path)).json()["results"]) == 6
    assert len((await client.request("GET", "/api/threads/t1/messages/")).json()["results"]) == 6

    by_name = await client.request("POST", "/api/threads/t1/fork/", {"message_id": "m2", "title": "Mine"})
    assert by_name.json()["title"] == "Mine"
    path = f"/api/threads/{by_name.json()['id']}/messages/"
    assert len((await client.request("GET", path)).json()["results"]) == 3
    for name in ("nope", "999999999", "9" * 30):
        missing = await client.request("POST", "/api/threads/t1/fork/", {"message_id": name})
        assert missing.status == 404


async def test_what_is_still_being_answered_is_neither_forked_nor_exported(client: Client, user: AbstractUser) -> None:
    def prepare() -> tuple[Thread, Message]:
        thread = ThreadFactory.create(owner=user)
        TurnFactory.create(thread=thread, turn_id="t", status="streaming")
        question = MessageFactory.create(thread=thread, turn_id="t")
        return thread, MessageFactory.create(thread=thread, turn_id="t", role="assistant", parent=question, parts=[])

    thread, answer = await sync_to_async(prepare)()
    busy = await client.request("POST", f"/api/threads/{thread.pk}/fork/", {"message_id": str(answer.pk)})
    assert (busy.status, busy.json()["error"]["code"]) == (409, "thread_busy")
    exported = (await client.request("GET", f"/api/threads/{thread.pk}/export/")).json()
    assert (exported["threads"][0]["messages"], exported["threads"][0]["turns"]) == ([], [])
    assert await Turn.objects.acount() == 1


def test_markdown_holds_what_was_said_and_no_text_breaks_out_of_its_block(asker: Scope) -> None:
    import_document(asker, open_webui())
    thread = Thread.objects.get()
    text = markdown(read_whole(asker, thread.pk))
    assert text.startswith("# Greeting\n\n## User · 2023-11-14 22:13:20\n\nHello\n")
    assert "> Hm.\n> So <it> is.\n" in text
    assert "**Tool search**" in text
    assert "[notes.txt](</api/v1/files/f1>)" in text
    assert "base64" not in text
    tool = {"type": "tool-x", "toolCallId": "c", "input": "````\n# Not a title"}
    told = {"title": "a\n# b", "messages": [{"role": "user", "created_at": "", "is_current": True, "parts": [tool]}]}
    lines = markdown(told).splitlines()
    assert lines[0] == "# a # b"
    assert "`````json" in lines
    assert lines[-1] == "`````"


async def test_an_export_as_markdown_is_a_download(client: Client) -> None:
    await client.send("t1", "/tokens 2 0")
    response = await client.request("GET", "/api/threads/t1/export/?format=markdown")
    assert response.headers["content-type"] == "text/markdown; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="tokens-2-0.md"'
    assert b"w1 w2" in response.body
    assert (await client.request("GET", "/api/threads/t1/export/?format=pdf")).status == 400
