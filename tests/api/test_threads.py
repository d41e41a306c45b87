from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractUser

from chat.models import Message, Thread
from chat.testing.client import Client
from tests.factories import MessageFactory, ThreadFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def get(client: Client, path: str) -> Any:
    response = await client.request("GET", path)
    assert response.status == 200, response.body
    return response.json()


async def walk(client: Client, path: str) -> list[list[Any]]:
    """All pages of a list."""
    pages = []
    following: str | None = path
    while following:
        page = await get(client, following)
        pages.append(page["results"])
        following = page["next"]
    return pages


async def test_a_thread_is_made_read_renamed_archived_and_deleted(client: Client) -> None:
    made = await client.request("POST", "/api/threads/", {"title": "Plans", "metadata": {"team": 7}})
    thread = made.json()
    path = f"/api/threads/{thread['id']}/"
    assert (made.status, thread["title"], thread["metadata"]) == (201, "Plans", {"team": 7})
    assert await get(client, path) == thread

    renamed = (await client.request("PATCH", path, {"title": "Better plans"})).json()
    assert renamed == {**thread, "title": "Better plans"}
    archived = (await client.request("PATCH", path, {"archived": True})).json()
    assert archived["archived_at"]
    assert await walk(client, "/api/threads/") == [[]]
    assert len((await get(client, "/api/threads/?archived=true"))["results"]) == 1
    back = (await client.request("PATCH", path, {"archived": False})).json()
    assert back["archived_at"] is None

    assert (await client.request("DELETE", path)).status == 204
    assert (await client.request("GET", path)).status == 404
    assert await walk(client, "/api/threads/?archived=all") == [[]]
    assert await Thread.objects.acount() == 1


async def test_what_is_found_is_read_page_by_page(client: Client) -> None:
    for words in ("Harbour", "Harbour harbour", "The old harbour", "Harbour"):
        await client.request("POST", "/api/threads/", {"title": words})
    pages = await walk(client, "/api/search/?q=harbour&limit=1")
    assert [len(page) for page in pages] == [1, 1, 1, 1]
    (whole,) = await walk(client, "/api/search/?q=harbour")
    assert [hit for page in pages for hit in page] == whole
    for after in ("x", "0x1p+0", "0x1p+0~", "~1", "0x1p+9999~1"):
        refused = await client.request("GET", f"/api/search/?q=harbour&after={after.replace('+', '%2B')}")
        assert (refused.status, refused.json()["error"]["field"]) == (400, "after"), after


async def test_a_new_thread_is_not_archived(client: Client) -> None:
    refused = await client.request("POST", "/api/threads/", {"title": "Plans", "archived": True})
    assert (refused.status, refused.json()["error"]["field"]) == (400, "archived")
    assert not await Thread.objects.aexists()


async def test_creating_with_the_client_s_id_twice_is_one_thread(client: Client) -> None:
    one = (await client.request("POST", "/api/threads/", {"id": "mine"})).json()
    two = (await client.request("POST", "/api/threads/", {"id": "mine"})).json()
    assert one["id"] == two["id"]
    assert await get(client, "/api/threads/mine/") == one


async def test_the_list_is_paged_by_activity_without_gaps_or_repeats(client: Client, user: AbstractUser) -> None:
    made = await sync_to_async(ThreadFactory.create_batch)(25, owner=user)
    same_time = made[0].created_at
    await Thread.objects.filter(pk__in=[thread.pk for thread in made[:12]]).aupdate(updated_at=same_time)
    pages = await walk(client, "/api/threads/?limit=4")
    threads = [thread for page in pages for thread in page]
    assert [len(page) for page in pages] == [4, 4, 4, 4, 4, 4, 1]
    assert len({thread["id"] for thread in threads}) == 25
    assert [thread["updated_at"] for thread in threads] == sorted(
        (thread["updated_at"] for thread in threads), reverse=True
    )


async def test_a_message_moves_its_thread_to_the_top(client: Client) -> None:
    await client.send("old", "/tokens 1 0")
    await client.send("new", "/tokens 1 0")
    await client.send("old", "/tokens 2 0")
    assert [thread["client_id"] for thread in (await walk(client, "/api/threads/"))[0]] == ["old", "new"]


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("plan", ["A plan"]),
        ("PLAN", ["A plan"]),
        ("%", ["100% sure"]),
        ("_", ["snake_case"]),
        ("\\", ["back\\slash"]),
        ("'", []),
    ],
)
async def test_the_list_is_filtered_by_title_literally(
    client: Client, user: AbstractUser, q: str, found: list[str]
) -> None:
    for title in ("A plan", "100% sure", "snake_case", "back\\slash"):
        await sync_to_async(ThreadFactory.create)(owner=user, title=title)
    from urllib.parse import quote

    results = (await get(client, f"/api/threads/?q={quote(q)}"))["results"]
    assert [thread["title"] for thread in results] == found


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "limit=201",
        "limit=" + "9" * 400,
        "limit=" + "0" * 19 + "1000000",
        "limit=" + "0" * 19 + "1" + "0" * 4300,
        "after=x",
        "after=2026-01-01~x",
        "archived=maybe",
        "q=%00",
        "mine=maybe",
    ],
)
@pytest.mark.parametrize("more", ["", "&deleted=true"])
async def test_a_bad_query_is_refused_by_field(client: Client, query: str, more: str) -> None:
    refused = await client.request("GET", f"/api/threads/?{query}{more}")
    assert (refused.status, refused.json()["error"]["field"]) == (400, query.partition("=")[0])


async def test_messages_come_last_page_first_in_order(client: Client, user: AbstractUser) -> None:
    thread = await sync_to_async(ThreadFactory.create)(owner=user)
    for number in range(23):
        await sync_to_async(MessageFactory.create)(thread=thread, parts=[{"type": "text", "text": str(number)}])
    await sync_to_async(MessageFactory.create)(thread=thread, is_current=False)
    await sync_to_async(MessageFactory.create)(thread=thread, deleted_at="2026-01-01T00:00:00Z")
    pages = await walk(client, f"/api/threads/{thread.pk}/messages/?limit=10")
    texts = [[message["parts"][0]["text"] for message in page] for page in pages]
    assert texts == [
        [str(number) for number in range(13, 23)],
        [str(number) for number in range(3, 13)],
        ["0", "1", "2"],
    ]


async def test_an_append_answers_with_the_row_and_says_that_it_is_old(client: Client) -> None:
    await client.send("t1", "/tokens 1 0", "m1")
    path = "/api/threads/t1/messages/"
    there = await client.request("POST", path, {"role": "user", "content": "forged", "turn_id": "m1"})
    made = await client.request("POST", path, {"role": "user", "content": "typed offline"})
    assert (there.status, there.json()["parts"]) == (200, [{"type": "text", "text": "/tokens 1 0"}])
    assert (made.status, made.json()["parts"]) == (201, [{"type": "text", "text": "typed offline"}])
    assert made.headers["deprecation"] == "true"
    assert await Message.objects.acount() == 3


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"content": "x"}, "role"),
        ({"role": "system", "content": "x"}, "role"),
        ({"role": "User", "content": "x"}, "role"),
        ({"role": "user"}, "parts"),
        ({"role": "user", "content": ""}, "content"),
        ({"role": "user", "content": 5}, "content"),
        ({"role": "user", "parts": [{"type": "reasoning", "text": "x"}]}, "parts.0.type"),
        ({"role": "assistant", "content": "x"}, "turn_id"),
        ({"role": "assistant", "content": [{}], "turn_id": "t"}, "content.0.type"),
        ({"role": "user", "content": "x", "turn_id": "x" * 129}, "turn_id"),
        ({"role": "user", "content": "x", "token_usage": {"total_tokens": -1}}, "token_usage.total_tokens"),
        ({"role": "user", "content": "x", "token_usage": {"total_tokens": 2**63}}, "token_usage.total_tokens"),
    ],
)
async def test_a_bad_append_is_refused_by_field(client: Client, body: dict[str, Any], field: str) -> None:
    await client.request("POST", "/api/threads/", {"id": "t1"})
    refused = await client.request("POST", "/api/threads/t1/messages/", body)
    assert refused.status == 400
    assert refused.json()["error"]["field"].startswith(field)
    assert not await Message.objects.aexists()


async def test_an_append_to_no_thread_or_no_turn_is_a_404(client: Client) -> None:
    missing = await client.request("POST", "/api/threads/none/messages/", {"role": "user", "content": "x"})
    assert (missing.status, missing.json()["error"]["code"]) == (404, "thread_not_found")
    await client.request("POST", "/api/threads/", {"id": "t1"})
    body = {"role": "assistant", "content": "x", "turn_id": "unknown"}
    refused = await client.request("POST", "/api/threads/t1/messages/", body)
    assert (refused.status, refused.json()["error"]["code"]) == (404, "turn_not_found")


async def test_a_turn_tells_how_it_stands(client: Client) -> None:
    chunks = (await client.send("t1", "/fail 1", "m1")).chunks()
    turn = await get(client, f"/api/turns/{chunks[1]['data']['turn']}")
    assert (turn["turn_id"], turn["status"], turn["error_code"]) == ("m1", "failed", "demo_failure")


async def test_a_send_into_a_deleted_thread_is_a_404(client: Client) -> None:
    await client.send("t1", "/tokens 1 0")
    await client.request("DELETE", "/api/threads/t1/")
    assert (await client.send("t1", "again")).status == 404


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/api/chat", "POST"),
        ("/api/chat/t1/stream", "GET"),
        ("/api/chat/t1/stop", "POST"),
        ("/api/threads/", "GET"),
        ("/api/turns/1", "GET"),
    ],
)
async def test_another_method_is_a_405_in_our_shape_that_says_which_is_allowed(
    client: Client, path: str, method: str
) -> None:
    refused = await client.request("PUT", path, {})
    assert (refused.status, refused.json()["error"]["code"]) == (405, "method_not_allowed")
    assert refused.headers["allow"].split(", ")[0] == method
