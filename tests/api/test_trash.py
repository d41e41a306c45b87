"""Deleted threads: found by their owner, restored, and gone for good."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractUser
from django.core.management import call_command
from django.db import connection

from chat.models import Message, SearchEntry, StreamEvents, Thread, TokenUsage, Turn
from chat.store.scope import Scope
from chat.store.threads import ThreadPosition
from chat.store.trash import deleted_threads, purge_expired
from chat.testing.client import Client
from tests.factories import MessageFactory, ThreadFactory, TurnFactory, UsageFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def test_a_deleted_thread_is_listed_restored_and_as_it_was(client: Client) -> None:
    await client.send("t1", "/tokens 2 0")
    before = (await client.request("GET", "/api/threads/t1/messages/")).body
    assert (await client.request("DELETE", "/api/threads/t1/")).status == 204
    (gone,) = (await client.request("GET", "/api/threads/?deleted=true")).json()["results"]
    assert gone["deleted_at"]
    assert (await client.request("GET", "/api/search/?q=tokens")).json()["results"] == []
    for _ in range(2):
        restored = await client.request("POST", "/api/threads/t1/restore/")
        assert (restored.status, restored.json()["id"]) == (200, gone["id"])
    assert (await client.request("GET", "/api/threads/t1/messages/")).body == before
    assert (await client.request("GET", "/api/threads/?deleted=true")).json()["results"] == []


async def test_only_what_is_in_the_trash_is_purged_and_usage_stays(client: Client) -> None:
    await client.send("t1", "/tokens 2 0")
    assert (await client.request("POST", "/api/threads/t1/purge/")).status == 404
    await client.request("DELETE", "/api/threads/t1/")
    assert (await client.request("POST", "/api/threads/t1/purge/")).status == 204
    for model in (Thread, Message, Turn, StreamEvents, SearchEntry):
        assert not await model.objects.aexists(), model
    assert await TokenUsage.objects.filter(thread=None, turn=None, total_tokens__gt=0).acount() == 1
    assert (await client.request("POST", "/api/threads/t1/restore/")).status == 404


async def test_a_thread_is_not_purged_under_its_live_turn(client: Client, user: AbstractUser) -> None:
    thread = await sync_to_async(ThreadFactory.create)(owner=user, deleted_at="2026-01-01T00:00:00Z")
    await sync_to_async(TurnFactory.create)(thread=thread, status="streaming")
    refused = await client.request("POST", f"/api/threads/{thread.pk}/purge/")
    assert (refused.status, refused.json()["error"]["code"]) == (409, "thread_busy")


def test_the_list_of_deleted_threads_comes_in_pages_newest_activity_first(user: AbstractUser) -> None:
    first, second, _ = (ThreadFactory.create(owner=user, deleted_at="2026-01-01T00:00:00Z") for _ in range(3))
    ThreadFactory.create(deleted_at="2026-01-01T00:00:00Z")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_threads SET updated_at = now() + interval '1 hour' WHERE id = %s", [first.pk])
        cursor.execute("UPDATE chat_threads SET updated_at = now() + interval '2 hour' WHERE id = %s", [second.pk])
    page = deleted_threads(Scope(user.pk), limit=2)
    assert [one["id"] for one in page] == [second.pk, first.pk]
    following = deleted_threads(Scope(user.pk), limit=2, after=ThreadPosition(page[-1]["updated_at"], first.pk))
    assert len(following) == 1


def test_the_command_keeps_to_the_settings(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fresh, deleted, idle, busy = ThreadFactory.create_batch(4)
    MessageFactory.create(thread=deleted)
    UsageFactory.create(turn__thread=deleted)
    TurnFactory.create(thread=busy, status="streaming")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE chat_threads SET deleted_at = now() - interval '31 days' WHERE id = %s", [deleted.pk])
        old = "UPDATE chat_threads SET updated_at = now() - interval '400 days' WHERE id = ANY (%s)"
        cursor.execute(old, [[idle.pk, busy.pk]])
    call_command("purge_threads", "--deleted-days", "0")
    assert Thread.objects.count() == 4
    call_command("purge_threads")
    assert set(Thread.objects.values_list("pk", flat=True)) == {fresh.pk, idle.pk, busy.pk}
    call_command("purge_threads", "--idle-days", "365")
    assert set(Thread.objects.values_list("pk", flat=True)) == {fresh.pk, busy.pk}
    assert capsys.readouterr().out.split("\n")[:3] == ["0 threads purged", "1 threads purged", "1 threads purged"]
    assert TokenUsage.objects.count() == 1
    assert purge_expired(deleted_days=0, idle_days=0) == []


@pytest.mark.parametrize("by_its_owner", [False, True])
@pytest.mark.parametrize("status", ["queued", "awaiting_approval"])
async def test_what_waits_in_a_thread_whose_deletion_was_cut_off_does_not_keep_it_for_ever(
    client: Client, user: AbstractUser, status: str, by_its_owner: bool
) -> None:
    def cut_off() -> tuple[Thread, Turn]:
        thread = ThreadFactory.create(owner=user, deleted_at="2026-01-01T00:00:00Z")
        turn = TurnFactory.create(thread=thread, status=status, user=user)
        if status != "queued":  # which has no rows yet
            for role in ("user", "assistant"):
                MessageFactory.create(thread=thread, turn_id=turn.turn_id, role=role)
        return thread, TurnFactory.create(status=status)

    thread, elsewhere = await sync_to_async(cut_off)()
    if by_its_owner:
        assert (await client.request("POST", f"/api/threads/{thread.pk}/purge/")).status == 204
    else:
        await sync_to_async(call_command)("purge_threads")
    assert not await Thread.objects.filter(pk=thread.pk).aexists()
    (left,) = [one async for one in Turn.objects.all()]
    assert (left.pk, left.status) == (elsewhere.pk, status)


@pytest.mark.parametrize("query", ["deleted=1", "mine=x", "q=" + "x" * 2000])
async def test_a_bad_filter_is_refused_by_field(client: Client, query: str) -> None:
    refused = await client.request("GET", f"/api/threads/?{query}")
    assert (refused.status, refused.json()["error"]["field"]) == (400, query.partition("=")[0])


@pytest.mark.parametrize("query", ["q=", "q=a&after=x", "q=a&after=0x1p0~", "q=a&after=1~1e9", "q=a&limit=0", "q=%00"])
async def test_a_bad_search_is_refused_by_field(client: Client, query: str) -> None:
    refused = await client.request("GET", f"/api/search/?{query}")
    assert refused.status == 400
    assert refused.json()["error"]["field"] in query
