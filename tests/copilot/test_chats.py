"""``/api/copilot/chats/``: what the clients of copilot chats do beside sending."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser

from chat.conf import Phase
from chat.models import CopilotChat, CopilotMessage, TokenUsage, Turn
from chat.store.scope import Scope
from chat.testing.client import Client, Response
from tests.copilot.chats import element, elements
from tests.copilot.turns import body, made, send, sound, stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]

CHATS = "/api/copilot/chats/"


async def get(client: Client, path: str) -> Any:
    answer = await client.request("GET", path)
    assert answer.status == 200, answer.body
    return answer.json()


def refusal(answer: Response) -> tuple[int, str]:
    return answer.status, answer.json()["error"]["code"]


async def test_a_chat_is_made_read_changed_and_deleted(client: Client) -> None:
    new = await client.request("POST", CHATS, {"title": "Plans", "model": "large", "config": {"mode": "ask"}})
    assert new.status == 201
    chat = new.json()
    assert (chat["title"], chat["model"], chat["config"], chat["messages_version"]) == (
        "Plans",
        "large",
        {"mode": "ask"},
        0,
    )
    path = f"{CHATS}{chat['id']}/"
    assert await get(client, path) == {**chat, "messages": [], "earlier": None, "turn": None}

    changed = await client.request("PATCH", path, {"title": "Other plans"})
    assert changed.status == 200
    assert (changed.json()["title"], changed.json()["model"]) == ("Other plans", "large")
    assert changed.json()["updated_at"] == chat["updated_at"]

    assert (await client.request("DELETE", path)).status == 204
    for method, sent in (("GET", None), ("PATCH", {"title": "x"}), ("DELETE", None)):
        assert refusal(await client.request(method, path, sent)) == (404, "chat_not_found")


async def test_the_list_comes_in_pages_newest_activity_first(
    client: Client, other_client: Client, asker: Scope
) -> None:
    chats = [str(await made(asker, title=f"chat {number}")) for number in range(5)]
    await send(client, uuid.UUID(chats[1]), "/tokens 1 0")
    seen, path = [], f"{CHATS}?limit=2"
    while path:
        page = await get(client, path)
        assert len(page["results"]) <= 2
        seen += [one["id"] for one in page["results"]]
        assert "messages" not in page["results"][0]
        path = page["next"]
    assert seen == [chats[1], chats[4], chats[3], chats[2], chats[0]]
    assert (await get(other_client, CHATS))["results"] == []


async def test_the_list_tells_which_chats_are_live(client: Client, asker: Scope) -> None:
    chat = await made(asker)
    await made(asker, active_stream_id="of a program that died")
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/hang", "m1")):
        live, dead = (await get(client, CHATS))["results"]
        assert (live["active_stream_id"], dead["active_stream_id"]) == ("m1", None)


@pytest.mark.usefixtures("phase")
async def test_messages_come_in_pages_last_page_first(client: Client, asker: Scope) -> None:
    names = [f"{kind}{number}" for number in range(5) for kind in ("u", "a")]
    chat = await made(asker, *names)
    seen, path = [], f"{CHATS}{chat}/?limit=3"
    while path:
        page = await get(client, path)
        seen = [one["id"] for one in page["messages"]] + seen
        path = page["earlier"]
    assert seen == names
    unknown = await client.request("GET", f"{CHATS}{chat}/?before=nothing")
    assert refusal(unknown) == (404, "message_not_found")


@pytest.mark.usefixtures("phase")
async def test_a_page_that_is_loaded_during_a_turn_finds_its_stream(client: Client, asker: Scope) -> None:
    chat = await made(asker, "u1", "a1")
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/tokens 60 10", "m1")) as stream:
        page = await get(client, f"{CHATS}{chat}/")
        assert [one["id"] for one in page["messages"]] == ["u1", "a1", "m1"]
        assert (page["active_stream_id"], page["turn"]["status"]) == ("m1", "streaming")
        again = await client.request("GET", f"/api/copilot/chat/stream?streamId=m1&after={page['turn']['cursor']}")
        assert again.body == await stream.body()
    page = await get(client, f"{CHATS}{chat}/")
    assert page["messages"][-1]["id"] == again.chunks()[0]["messageId"]
    assert (page["active_stream_id"], page["turn"]) == (None, None)


async def test_a_page_that_is_loaded_at_any_moment_misses_nothing(client: Client, asker: Scope) -> None:
    chat = await made(asker)

    over = False

    async def load() -> None:
        while not over:
            page = await get(client, f"{CHATS}{chat}/")
            if page["messages"] and page["messages"][-1]["role"] == "user":
                assert page["turn"], "a question without its answer, and no stream to read it from"

    loading = [asyncio.create_task(load()) for _ in range(4)]
    for number in range(25):
        await send(client, chat, "/tokens 2 1", f"m{number}")
    over = True
    await asyncio.gather(*loading)


@pytest.mark.usefixtures("phase")
async def test_a_whole_history_is_replaced_as_it_was_read(client: Client, asker: Scope) -> None:
    chat = await made(asker, "u1", "a1", "u2", "a2")
    page = await get(client, f"{CHATS}{chat}/?limit=1000")
    kept = [*page["messages"][:2], element("u3", citations=[{"own": "key"}], errorType="x")]
    path = f"{CHATS}{chat}/update-messages/"
    saved = await client.request("POST", path, {"messages": kept, "messages_version": page["messages_version"]})
    assert (saved.status, saved.json()) == (200, {"messages_version": page["messages_version"] + 1, "count": 3})
    assert await stored(chat) == kept

    stale = await client.request("POST", path, {"messages": [], "messages_version": page["messages_version"]})
    assert refusal(stale) == (409, "stale_messages")
    assert stale.json()["error"]["messages_version"] == saved.json()["messages_version"]
    assert await stored(chat) == kept


@pytest.mark.usefixtures("phase")
async def test_a_history_is_not_replaced_while_a_turn_is_live_in_it(client: Client, asker: Scope) -> None:
    chat = await made(asker, "u1", "a1")
    path = f"{CHATS}{chat}/update-messages/"
    before = await get(client, f"{CHATS}{chat}/")
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/hang", "m1")) as stream:
        await stream.until("text-delta")
        during = await get(client, f"{CHATS}{chat}/")
        for version in (before["messages_version"], during["messages_version"]):
            refused = await client.request("POST", path, {"messages": [], "messages_version": version})
            assert refusal(refused) == (409, "chat_busy")
            assert refused.json()["error"]["stream_id"] == "m1"
        await client.request("POST", "/api/copilot/chat/stop", {"streamId": "m1"})
        await stream.body()
    stale = await client.request("POST", path, {"messages": [], "messages_version": during["messages_version"]})
    assert refusal(stale) == (409, "stale_messages"), "the answer is in it by now"
    assert len(await stored(chat)) == 4
    await sound()


@pytest.mark.usefixtures("phase")
async def test_a_fork_is_a_chat_of_its_own(client: Client, asker: Scope) -> None:
    chat = await made(asker, "u1", "a1", "u2", "a2", title="Plans")
    new = await client.request("POST", f"{CHATS}{chat}/fork/", {"upToMessageId": "a1"})
    assert (new.status, new.json()["title"], new.json()["model"]) == (201, "Fork | Plans", "large")
    fork = uuid.UUID(new.json()["id"])
    assert await stored(fork) == elements("u1", "a1")
    await send(client, fork, "/tokens 1 0", "m1")
    assert (len(await stored(fork)), len(await stored(chat))) == (4, 4)
    unknown = await client.request("POST", f"{CHATS}{chat}/fork/", {"upToMessageId": "none"})
    assert refusal(unknown) == (404, "message_not_found")


async def test_a_fork_of_a_live_chat_has_no_live_turn(client: Client, asker: Scope) -> None:
    chat = await made(asker, "u1", "a1")
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/hang", "m1")):
        fork = (await client.request("POST", f"{CHATS}{chat}/fork/", {"upToMessageId": "m1"})).json()
        assert fork["active_stream_id"] is None
        assert (await send(client, uuid.UUID(fork["id"]), "/tokens 2 0", "other")).status == 200
    assert [one["id"] for one in (await stored(uuid.UUID(fork["id"])))][:4] == ["u1", "a1", "m1", "other"]


async def test_deleting_a_chat_ends_its_live_turn(client: Client, asker: Scope) -> None:
    chat = await made(asker, "u1", "a1")
    async with client.stream("POST", "/api/copilot/chat", body(chat, "/tokens 9999 5", "m1")) as stream:
        await stream.until("text-delta")
        assert (await client.request("DELETE", f"{CHATS}{chat}/")).status == 204
        rest = [event.chunk async for event in stream.events()]
    assert rest[-2:] == [{"type": "abort"}, None]
    assert not await Turn.objects.aexists()
    assert not await CopilotMessage.objects.aexists()
    usage = await TokenUsage.objects.aget()
    assert (usage.source, usage.turn_id, usage.copilot_chat_id) == ("reported", None, None)
    assert usage.completion_tokens > 0


async def test_a_turn_that_does_not_end_before_its_chat_is_gone_leaves_a_usage_row(
    client: Client, asker: Scope, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.turns.copilot.STOP_SECONDS", 0.0)
    settings.CHAT_AGENT = "tests.turns.agents.Stubborn"
    chat = await made(asker)
    async with client.stream("POST", "/api/copilot/chat", body(chat, "Hello", "m1")) as stream:
        await stream.until("text-delta")
        assert (await client.request("DELETE", f"{CHATS}{chat}/")).status == 204
        await asyncio.wait_for(stream.body(), 10)
    assert [usage.source async for usage in TokenUsage.objects.all()] == ["missing"]


@pytest.mark.usefixtures("phase")
async def test_a_superuser_takes_over_chats_for_a_user(
    client: Client, other_client: Client, user: AbstractUser, other_user: AbstractUser
) -> None:
    user.is_superuser = True
    await user.asave()
    chats = [{"title": "Old", "model": "m", "messages": elements("u1", "a1")}, {"title": "Empty"}]
    taken = await client.request("POST", "/api/copilot/import/", {"user": other_user.get_username(), "chats": chats})
    assert taken.status == 201
    old, empty = (uuid.UUID(one["id"]) for one in taken.json()["results"])
    assert await stored(old) == elements("u1", "a1")
    assert (await get(other_client, f"{CHATS}{old}/"))["title"] == "[Import] Old"
    assert (await get(other_client, f"{CHATS}{empty}/"))["messages"] == []
    assert (await client.request("GET", f"{CHATS}{old}/")).status == 404

    bad = [*chats, {"messages": [{"id": "x"}]}]
    refused = await client.request("POST", "/api/copilot/import/", {"chats": bad})
    assert (refused.status, refused.json()["error"]["field"]) == (400, "chats.2.messages.0.role")
    unknown = await client.request("POST", "/api/copilot/import/", {"user": "nobody", "chats": chats})
    assert (unknown.status, unknown.json()["error"]["field"]) == (400, "user")
    assert await CopilotChat.objects.acount() == 2


async def test_nobody_else_learns_of_the_import(client: Client) -> None:
    for sent in ({"chats": [{"title": "x"}]}, {"nonsense": 1}, b"{"):
        assert refusal(await client.request("POST", "/api/copilot/import/", sent)) == (404, "not_found")


async def test_anothers_chat_is_a_missing_one(client: Client, other_client: Client, asker: Scope) -> None:
    chat = await made(asker, "u1", "a1")
    for method, below, sent in (
        ("GET", "", None),
        ("PATCH", "", {"title": "mine"}),
        ("DELETE", "", None),
        ("POST", "update-messages/", {"messages": [], "messages_version": 0}),
        ("POST", "update-messages/", {"messages": [], "messages_version": 7}),
        ("POST", "fork/", {"upToMessageId": "u1"}),
        ("POST", "fork/", {"upToMessageId": "none"}),
        ("POST", "inbox/", {"message": "Hello"}),
    ):
        refused = await other_client.request(method, f"{CHATS}{chat}/{below}", sent)
        missing = await other_client.request(method, f"{CHATS}{uuid.uuid4()}/{below}", sent)
        nonsense = await other_client.request(method, f"{CHATS}no-uuid/{below}", sent)
        assert refusal(refused) == (404, "chat_not_found"), (method, below)
        assert refused.body == missing.body == nonsense.body
    assert (await client.request("GET", f"{CHATS}{chat}/")).json()["messages"] == elements("u1", "a1")


async def test_who_is_not_logged_in_is_told_so(asker: Scope) -> None:
    chat = await made(asker)
    nobody = Client({})
    for method, path in (
        ("GET", CHATS),
        ("GET", f"{CHATS}{chat}/"),
        ("POST", "/api/copilot/import/"),
        ("GET", "/api/copilot/chat/stream?streamId=m1"),
    ):
        assert (await nobody.request(method, path)).status == 401


async def test_turns_go_on_through_the_phases(client: Client, asker: Scope, settings: Any) -> None:
    chat, expected = await made(asker, "u1", "a1"), ["u1", "a1"]
    for number, phase in enumerate((Phase.DUAL, Phase.MIRROR_READS, Phase.MIRROR_ONLY)):
        settings.COPILOT_MESSAGES_PHASE = phase
        answer = await send(client, chat, "/tokens 2 0", f"m{number}")
        expected += [f"m{number}", answer.chunks()[0]["messageId"]]
        page = await get(client, f"{CHATS}{chat}/")
        assert [one["id"] for one in page["messages"]] == expected
    await sound()
