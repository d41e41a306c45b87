"""Links that show a thread to strangers, and what they never show."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractUser

from chat.errors import TooManyShares
from chat.models import Share, Thread
from chat.protocol.snapshot import shareable
from chat.store.scope import Scope
from chat.store.shares import create_share, revoke_share
from chat.testing.client import Client
from tests.factories import MessageFactory, ThreadFactory, TurnFactory
from tests.races import race

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
STRANGER = Client({})


async def shared(client: Client, thread: Any = "t1", **body: Any) -> dict[str, Any]:
    made = await client.request("POST", f"/api/threads/{thread}/shares/", body)
    assert made.status == 201, made.body
    result: dict[str, Any] = made.json()
    return result


async def test_a_link_shows_the_thread_as_it_was_when_it_was_made(client: Client) -> None:
    await client.send("t1", "/tokens 2 0")
    link = await shared(client)
    await client.send("t1", "Something private")
    shown = await STRANGER.request("GET", link["path"])
    assert [message["role"] for message in shown.json()["messages"]] == ["user", "assistant"]
    assert b"private" not in shown.body
    assert shown.headers["cache-control"] == "no-store"
    assert shown.headers["x-robots-tag"] == "noindex"
    stored = await Share.objects.aget()
    assert link["secret"] not in str(vars(stored))
    assert (await client.request("GET", "/api/threads/t1/shares/")).json()["results"][0].keys().isdisjoint({"secret"})


async def test_reasoning_tools_data_and_files_stay_behind(client: Client, user: AbstractUser) -> None:
    parts = [
        {"type": "text", "text": "seen", "providerMetadata": {"x": "HIDDEN"}},
        {"type": "reasoning", "text": "HIDDEN"},
        {"type": "tool-x", "toolCallId": "c", "state": "output-available", "input": "HIDDEN", "output": "HIDDEN"},
        {"type": "dynamic-tool", "toolName": "HIDDEN", "toolCallId": "d", "state": "input-available", "input": {}},
        {"type": "data-mentioned-documents", "data": {"documents": [{"id": 1, "title": "HIDDEN"}]}},
        {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,HIDDEN", "filename": "a.png"},
        {"type": "source-url", "sourceId": "HIDDEN", "url": "https://example.org", "title": "A page"},
        {"type": "source-url", "url": "javascript:HIDDEN"},
        {"type": "source-document", "title": "HIDDEN"},
        {"type": "step-start"},
    ]
    thread = await sync_to_async(ThreadFactory.create)(owner=user, metadata={"secret": "HIDDEN"})
    await sync_to_async(MessageFactory.create)(thread=thread, role="assistant", parts=parts, metadata={"m": "HIDDEN"})
    shown = await STRANGER.request("GET", (await shared(client, thread.pk))["path"])
    assert b"HIDDEN" not in shown.body
    (message,) = shown.json()["messages"]
    assert [part["type"] for part in message["parts"]] == ["text", "file", "source-url"]
    assert shareable([{"type": "text", "text": 5}, {}]) == []


async def test_an_answer_that_is_being_written_is_not_shown(client: Client, user: AbstractUser) -> None:
    def prepare() -> Thread:
        thread = ThreadFactory.create(owner=user)
        TurnFactory.create(thread=thread, turn_id="t", status="awaiting_approval")
        MessageFactory.create(thread=thread, turn_id="t", role="assistant")
        return thread

    thread = await sync_to_async(prepare)()
    shown = await STRANGER.request("GET", (await shared(client, thread.pk))["path"])
    assert shown.json()["messages"] == []


@pytest.mark.parametrize("how", ["revoked", "expired", "deleted", "guessed"])
async def test_a_link_that_is_gone_is_a_404(client: Client, other_client: Client, how: str) -> None:
    await client.send("t1", "/tokens 1 0")
    link = await shared(client)
    path = link["path"]
    if how == "revoked":
        assert (await other_client.request("DELETE", f"/api/shares/{link['id']}/")).status == 404
        assert (await STRANGER.request("GET", path)).status == 200
        assert (await client.request("DELETE", f"/api/shares/{link['id']}/")).status == 204
    elif how == "expired":
        await Share.objects.aupdate(expires_at="2026-01-01T00:00:00Z")
    elif how == "deleted":
        await client.request("DELETE", "/api/threads/t1/")
    else:
        path = path[:-2] + ("A/" if path[-2] != "A" else "B/")
    gone = await STRANGER.request("GET", path)
    assert (gone.status, gone.json()["error"]["code"]) == (404, "not_found")
    page = await STRANGER.request("GET", path.removeprefix("/api"))
    assert page.status == 404
    assert b"This link shows nothing" in page.body
    assert b"w1" not in page.body


async def test_a_stranger_who_tries_links_without_end_has_to_wait(client: Client, settings: Any) -> None:
    await client.send("t1", "/tokens 1 0")
    page = f"/shared/{(await shared(client))['secret']}/"
    settings.CHAT_STRANGERS_A_MINUTE = 2
    answers = [await STRANGER.request("GET", page) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert b"w1" not in answers[-1].body


async def test_a_link_ends_when_it_is_told_to_and_by_default(client: Client, settings: Any) -> None:
    await client.request("POST", "/api/threads/", {"id": "t1"})
    assert (await shared(client))["expires_at"]
    settings.CHAT_SHARE_DAYS = 0
    assert (await shared(client))["expires_at"] is None
    settings.CHAT_SHARE_MOST_DAYS = 7
    assert (await shared(client))["expires_at"]
    settings.CHAT_SHARE_DAYS = 30  # as it is where only the most is set
    link = await shared(client)
    made, end = (datetime.fromisoformat(link[name]) for name in ("created_at", "expires_at"))
    assert timedelta(days=6.9) < end - made <= timedelta(days=7.1)
    for days in (8, 0, -1, 1e308, "x", True):
        refused = await client.request("POST", "/api/threads/t1/shares/", {"days": days})
        assert (refused.status, refused.json()["error"]["field"]) == (400, "days"), days


def copies() -> int:
    """How many links keep a copy of their thread."""
    return Share.objects.exclude(snapshot={}).count()


def test_no_number_of_links_made_at_once_goes_over_the_limit(asker: Scope, settings: Any) -> None:
    settings.CHAT_SHARES_OF_USER = 2
    thread = ThreadFactory.create(owner_id=asker.user_id)
    others = ThreadFactory.create()
    create_share(Scope(others.owner_id), others.pk, 1)
    outcomes = race([lambda: create_share(asker, thread.pk, None)] * 4)
    assert sum(isinstance(outcome, TooManyShares) for outcome in outcomes) == 2
    assert copies() == 3


def test_a_link_that_shows_nothing_any_more_keeps_nothing_and_makes_room(asker: Scope, settings: Any) -> None:
    settings.CHAT_SHARES_OF_USER = 2
    thread = ThreadFactory.create(owner_id=asker.user_id)
    _, revoked = create_share(asker, thread.pk, None)
    _, expired = create_share(asker, thread.pk, 1)
    with pytest.raises(TooManyShares):
        create_share(asker, thread.pk, None)
    revoke_share(asker, revoked["id"])
    assert copies() == 1
    Share.objects.filter(pk=expired["id"]).update(expires_at="2026-01-01T00:00:00Z")
    for _ in range(2):
        create_share(asker, thread.pk, None)
    assert copies() == 2


async def test_whoever_has_as_many_links_as_may_be_is_told(client: Client, settings: Any) -> None:
    settings.CHAT_SHARES_OF_USER = 0
    await client.request("POST", "/api/threads/", {"id": "t1"})
    refused = await client.request("POST", "/api/threads/t1/shares/", {})
    assert (refused.status, refused.json()["error"]["code"]) == (409, "too_many_shares")


async def test_the_page_of_a_link_shows_what_was_rendered_when_it_was_made(client: Client, user: AbstractUser) -> None:
    thread = await sync_to_async(ThreadFactory.create)(owner=user)
    parts = [{"type": "text", "text": "It is **so**."}]
    for role in ("user", "assistant"):
        await sync_to_async(MessageFactory.create)(thread=thread, role=role, parts=parts)
    link = await shared(client, thread.pk)
    told = (await STRANGER.request("GET", link["path"])).json()["messages"]
    assert [message["parts"] for message in told] == [parts, parts]
    assert all("html" not in message for message in told)
    page = f"/shared/{link['secret']}/"
    stored = (await Share.objects.aget()).snapshot
    assert [message.get("html") for message in stored["messages"]] == [None, ["<p>It is <strong>so</strong>.</p>\n"]]
    shown = await STRANGER.request("GET", page)
    assert b"It is **so**." in shown.body
    assert b"It is <strong>so</strong>." in shown.body
    # As an older version has stored it.
    del stored["messages"][1]["html"]
    await Share.objects.aupdate(snapshot=stored)
    assert (await STRANGER.request("GET", page)).body == shown.body
    stored["messages"][1]["html"] = ["<p>What is stored</p>"]
    await Share.objects.aupdate(snapshot=stored)
    assert b"What is stored" in (await STRANGER.request("GET", page)).body
