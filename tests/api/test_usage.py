"""``GET /api/usage/``: what turns have used, summed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractUser
from django.db import connection

from chat.models import TokenUsage
from chat.store.tokens import create_token
from chat.testing.client import Client
from tests.api.test_threads import get, walk
from tests.factories import ThreadFactory, TurnFactory, UsageFactory, UserFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


@sync_to_async
def used(user: AbstractUser, days_ago: int = 0, **figures: Any) -> TokenUsage:
    turn = TurnFactory.create(thread=ThreadFactory.create(owner=user))
    usage: TokenUsage = UsageFactory.create(turn=turn, **figures)
    TokenUsage.objects.filter(pk=usage.pk).update(created_at=datetime.now(UTC) - timedelta(days=days_ago))
    return usage


def today(days_ago: int = 0) -> str:
    return str(datetime.now(UTC).date() - timedelta(days=days_ago))


async def test_what_a_turn_used_is_in_the_totals_when_it_has_ended(client: Client, other_client: Client) -> None:
    await client.send("t1", "/tokens 5 0", "m1")
    thread = (await get(client, "/api/threads/t1/"))["id"]
    (total,) = (await get(client, "/api/usage/?group=day,model,thread"))["results"]
    assert (total["day"], total["model"], total["thread"]) == (today(), "demo", thread)
    assert (total["turns"], total["completion_tokens"], total["estimated"]) == (1, 5, 0)
    assert (await get(client, "/api/usage/?thread=t1"))["results"][0]["turns"] == 1
    assert (await get(client, "/api/usage/?thread=t2"))["results"] == []
    assert (await get(client, "/api/usage/?model=demo"))["results"][0]["turns"] == 1
    assert (await get(client, "/api/usage/?model=x"))["results"] == []
    assert (await get(other_client, f"/api/usage/?thread={thread}"))["results"] == []


async def test_a_time_is_given_in_days_or_in_moments(client: Client, user: AbstractUser) -> None:
    for days_ago in (0, 1, 2, 29, 31):
        await used(user, days_ago)

    async def days(**time: str) -> list[str]:
        query = "&".join(f"{name.rstrip('_')}={value}" for name, value in time.items())
        return [total["day"] for total in (await get(client, f"/api/usage/?{query}"))["results"]]

    assert await days() == [today(29), today(2), today(1), today()]
    assert await days(from_=today(2), to=today(1)) == [today(2), today(1)]
    assert await days(from_=today(40), to=today(30)) == [today(31)]
    assert await days(to=today(1)) == [today(29), today(2), today(1)]
    assert await days(from_=f"{today(2)}T00:00:00Z", to=f"{today(1)}T00:00:00Z") == [today(2)]
    assert await days(from_=f"{today(2)}T01:00:00+01:00", to=f"{today(1)}T01:00:00%2B01:00") == [today(2)]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("from=2026-11-22T08:00:00", "from"),
        ("from=2026-13-01", "from"),
        ("to=9999-12-31", "to"),
        ("to=0001-01-01T00:00:00%2B10:00", "to"),
        ("to=0001-01-02", "to"),
        ("to=0001-01-02&format=csv", "to"),
        ("limit=0&format=csv", "limit"),
        ("after=x&format=csv", "after"),
        ("from=2026-01-02&to=2026-01-01", "from"),
        ("from=2020-01-01&to=2026-01-01", "from"),
        ("from=2030-01-01", "from"),
        ("group=hour", "group"),
        ("group=day;model", "group"),
        ("format=xml", "format"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("after=x", "after"),
        ("after=[]", "after"),
        ("after=[1]", "after"),
        ("after=[%22a%22,%22b%22]", "after"),
        ("group=&after=[]", "after"),
        ("after=[%22%5Cu0000%22]", "after"),
        ("model=%00", "model"),
        ("thread=%00", "thread"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name(client: Client, query: str, field: str) -> None:
    response = await client.request("GET", f"/api/usage/?{query}")
    assert (response.status, response.json()["error"].get("field")) == (400, field), response.body


async def test_pages_lead_from_one_to_the_next(client: Client, user: AbstractUser) -> None:
    for number in range(5):
        await used(user, number % 3, model_breakdown={f"model/{number} +&=": {"total_tokens": 1}})
    pages = await walk(client, "/api/usage/?group=model,day&limit=2")
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {(total["day"], total["model"]) for page in pages for total in page} == {
        (today(number % 3), f"model/{number} +&=") for number in range(5)
    }
    (whole,) = (await get(client, "/api/usage/?group="))["results"]
    assert whole["turns"] == 5
    assert (await get(client, f"/api/usage/?group=&model={quote('model/3 +&=')}"))["results"][0]["turns"] == 1


async def test_a_csv_is_streamed_in_pieces_and_holds_no_connection_between_them(
    client: Client, user: AbstractUser
) -> None:
    breakdown = {f"=model {number:04}": {"total_tokens": number} for number in range(2500)}
    await used(user, model_breakdown=breakdown)
    async with client.stream("GET", "/api/usage/?group=model&format=csv") as stream:
        pieces = [piece async for piece in stream.pieces()]
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/csv; charset=utf-8"
        assert stream.headers["content-disposition"] == f'attachment; filename="usage-{today(29)}-{today()}.csv"'
        assert stream.headers["cache-control"] == "no-store"
    assert len(pieces) == 4  # the head, and 1,000 lines a page
    lines = b"".join(pieces).decode().splitlines()
    assert lines[0].startswith("model,turns,prompt_tokens")
    assert len(lines) == 2501
    assert all(line.startswith("'=model ") for line in lines[1:])
    assert lines[-1].split(",")[4] == "2499"


async def test_only_a_superuser_is_told_of_others(client: Client, user: AbstractUser, other_user: AbstractUser) -> None:
    await used(user)
    await used(other_user)
    for query in (f"user={other_user.pk}", "user=all", "user=0", "user=x", "user="):
        for form in ("", "&format=csv"):
            response = await client.request("GET", f"/api/usage/?{query}{form}")
            assert (response.status, response.json()["error"]["code"]) == (404, "not_found")
    assert (await get(client, f"/api/usage/?user={user.pk}"))["results"][0]["turns"] == 1
    assert [total["user"] for total in (await get(client, "/api/usage/?group=user"))["results"]] == [str(user.pk)]

    boss = await sync_to_async(UserFactory.create)(is_superuser=True)
    token = await sync_to_async(create_token)(boss.username)
    head = Client({"authorization": f"Bearer {token}"})
    assert (await get(head, "/api/usage/"))["results"] == []
    by_user = (await get(head, "/api/usage/?user=all&group=user"))["results"]
    assert {total["user"] for total in by_user} == {str(user.pk), str(other_user.pk)}
    assert (await get(head, f"/api/usage/?user={user.pk}"))["results"][0]["turns"] == 1
    assert (await head.request("GET", "/api/usage/?user=nobody")).json()["error"]["field"] == "user"
    assert (await Client({}).request("GET", "/api/usage/")).status == 401


async def test_a_reader_who_leaves_in_the_middle_leaves_nothing_behind(client: Client, user: AbstractUser) -> None:
    await used(user, model_breakdown={f"model {number:04}": {"total_tokens": 1} for number in range(3000)})
    async with client.stream("GET", "/api/usage/?group=model&format=csv") as stream:
        async for _ in stream.pieces():
            break
    await asyncio.sleep(0.1)

    def working() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE state LIKE 'idle in transaction%' AND datname = current_database()"
            )
            return int(cursor.fetchone()[0])

    assert await sync_to_async(working)() == 0
