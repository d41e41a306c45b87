"""A page of messages is made by PostgreSQL where nothing has to be added to it, and by Python where something has."""

from __future__ import annotations

import pytest

from chat.testing.client import Client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def test_a_page_that_postgresql_makes_is_the_one_that_python_makes(client: Client) -> None:
    await client.send("t1", 'ä \\ " 🎈  </script>', "m1")
    await client.send("t1", "/tool", "m2")
    await client.send("t1", "/approve", "m3")  # an answer that waits
    append = {"role": "user", "content": "late", "turn_id": "t4", "token_usage": None}
    assert (await client.request("POST", "/api/threads/t1/messages/", append)).status == 201
    for query in ("", "limit=3", "limit=7", "limit=1", "limit=2&before={}"):
        last = (await client.request("GET", "/api/threads/t1/messages/?limit=1")).json()["results"][0]["id"]
        path = f"/api/threads/t1/messages/?{query.format(last)}"
        passed = (await client.request("GET", path)).json()
        made = (await client.request("GET", f"{path}&versions=true")).json()
        assert made["results"], path
        assert passed["results"] == made["results"], path
        following = [page["next"] and page["next"].replace("&versions=true", "") for page in (passed, made)]
        assert following[0] == following[1], path


async def test_a_thread_without_messages_has_an_empty_page_and_another_s_none(
    client: Client, other_client: Client
) -> None:
    thread = (await client.request("POST", "/api/threads/", {})).json()["id"]
    page = (await client.request("GET", f"/api/threads/{thread}/messages/")).json()
    assert page == {"results": [], "next": None, "previous": None}
    assert (await other_client.request("GET", f"/api/threads/{thread}/messages/")).status == 404
