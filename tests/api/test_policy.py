"""Threads shared inside a team: the policy of docs/access.md, over every way in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser, Group
from django.core.checks import run_checks
from django.core.management import call_command
from django.db.models import Model
from django.test import RequestFactory

from chat.access.policy import OwnerOnly
from chat.admin.read_only import ReadOnlyAdmin
from chat.errors import ReadOnly
from chat.models import Message, StreamEvents, Thread, ToolApproval, Turn
from chat.store import queue, threads, turns, versions
from chat.store.scope import Scope
from chat.store.sql import rows
from chat.testing.client import Client, said
from tests.admin.pages import one_of_each
from tests.factories import MessageFactory, ThreadFactory, TurnFactory, UserFactory
from tests.ws.sockets import socket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


def test_the_example_passes_the_checks(teams: None, db: None) -> None:
    assert [one for one in run_checks(databases=["default"]) if one.id == "chat.E022"] == []


async def test_a_teammate_reads_a_thread_and_may_not_write_in_it(
    client: Client, other_client: Client, teams: None, mates: None
) -> None:
    chunks = (await client.send("t1", "/tokens 2 0")).chunks()
    thread, turn = chunks[0]["messageMetadata"]["thread_id"], chunks[1]["data"]["turn"]
    (listed,) = (await other_client.request("GET", "/api/threads/")).json()["results"]
    assert (listed["id"], listed["may_write"]) == (thread, False)
    (own,) = (await client.request("GET", "/api/threads/")).json()["results"]
    assert own["may_write"] is True
    for path in (
        f"/api/threads/{thread}/",
        f"/api/threads/{thread}/state/",
        f"/api/threads/{thread}/messages/",
        f"/api/turns/{turn}",
        f"/api/turns/{turn}/stream",
    ):
        assert (await other_client.request("GET", path)).status == 200, path
    async with socket(other_client, f"/ws/threads/{thread}/?after=0-0") as reader:
        await reader.until(status="completed")
        await reader.say({"submit": {"messages": [{"role": "user", "parts": [{"type": "text", "text": "x"}]}]}})
        frame = await reader.hear()
        assert frame is not None
        assert frame["error"]["code"] == "read_only"

    message = await Message.objects.aget(role="user")
    before = await Message.objects.acount()
    for method, path, body in [
        ("POST", "/api/chat", said(thread, "x")),
        ("POST", "/api/chat", {"id": thread, "trigger": "regenerate-message"}),
        ("POST", f"/api/chat/{thread}/stop", None),
        ("PATCH", f"/api/threads/{thread}/", {"title": "Mine now"}),
        ("PATCH", f"/api/threads/{thread}/", {"archived": True}),
        ("DELETE", f"/api/threads/{thread}/", None),
        ("POST", f"/api/threads/{thread}/messages/", {"role": "user", "content": "x"}),
        ("POST", f"/api/messages/{message.pk}/restore/", None),
    ]:
        refused = await other_client.request(method, path, body)
        assert (refused.status, refused.json()["error"]["code"]) == (403, "read_only"), path
    assert await Message.objects.acount() == before
    assert await Thread.objects.filter(title="/tokens 2 0", deleted_at=None, archived_at=None).acount() == 1


async def test_who_is_erased_leaves_nothing_live_in_the_threads_of_teammates(
    client: Client, other_client: Client, other_user: AbstractUser, teams: None, mates: None
) -> None:
    made = await client.request("POST", "/api/threads/", {"title": "Plans", "metadata": {"team": "write"}})
    thread = made.json()["id"]
    live = asyncio.create_task(other_client.send(thread, "/hang", "Persimmon1"))
    while not await Turn.objects.filter(status="streaming").aexists():
        await asyncio.sleep(0.01)
    queued = asyncio.create_task(other_client.send(thread, "Persimmon2", "Persimmon2", on_busy="enqueue"))
    while not await Turn.objects.filter(status="queued").aexists():
        await asyncio.sleep(0.01)
    await sync_to_async(call_command)("erase_user", other_user.get_username())
    await asyncio.gather(live, queued)
    turns = [one async for one in Turn.objects.filter(thread_id=thread)]
    assert {(one.status, one.user_id, one.turn_id) for one in turns} == {
        ("stopped", None, f"erased-{one.pk}") for one in turns
    }
    assert len(turns) == 2
    for model in (Message, StreamEvents, Turn):
        assert "Persimmon" not in repr([one async for one in model.objects.values()]), model
    assert (await client.send(thread, "/tokens 2 0")).chunks()[-1]["type"] == "finish"


async def test_a_teammate_writes_where_the_owner_lets_them_and_the_rest_stays_the_owner_s(
    client: Client, other_client: Client, teams: None, mates: None
) -> None:
    made = await client.request("POST", "/api/threads/", {"title": "Plans", "metadata": {"team": "write"}})
    thread = made.json()["id"]
    assert (await other_client.send(thread, "/tokens 2 0")).status == 200
    assert await Turn.objects.filter(thread_id=thread, status="completed").acount() == 1
    assert (await other_client.request("PATCH", f"/api/threads/{thread}/", {"title": "Ours"})).status == 200
    for body in ({"metadata": {"team": "none"}}, {"archived": True}):
        assert (await other_client.request("PATCH", f"/api/threads/{thread}/", body)).status == 403
    assert (await other_client.request("DELETE", f"/api/threads/{thread}/")).status == 403


async def test_what_a_teammate_has_said_who_is_erased_names_neither_thread_nor_turn(
    client: Client, other_client: Client, other_user: AbstractUser, teams: None, mates: None
) -> None:
    long = "Persimmon " * 20
    for said_first in ("Persimmon, please", long):
        made = await client.request("POST", "/api/threads/", {"metadata": {"team": "write"}})
        thread = made.json()["id"]
        assert (await other_client.send(thread, said_first, turn_id="my Persimmon")).status == 200
    named = (await client.request("POST", "/api/threads/", {"title": "Plans", "metadata": {"team": "write"}})).json()
    await other_client.send(named["id"], "Plans for Persimmons")
    await sync_to_async(call_command)("erase_user", other_user.get_username())
    assert [one.title async for one in Thread.objects.order_by("created_at")] == ["", "", "Plans"]
    answers = [one async for one in Message.objects.filter(role="assistant")]
    assert len(answers) == 3
    assert not [one for one in answers if "Persimmon" in str(one.metadata)]
    assert not [one async for one in StreamEvents.objects.all() if "Persimmon" in one.chunks]


async def test_who_leaves_the_team_learns_nothing_any_more(
    client: Client, other_client: Client, teams: None, mates: None, settings: Any
) -> None:
    settings.CHAT_ACCESS_CHECK_SECONDS = 0.1
    thread = (await client.request("POST", "/api/threads/", {"title": "Plans"})).json()["id"]
    async with socket(other_client, f"/ws/threads/{thread}/") as reader:
        await sync_to_async(Group.objects.all().delete)()
        frames = []
        while (frame := await reader.hear()) is not None:
            frames.append(frame)
        assert [frame["error"]["code"] for frame in frames] == ["access_lost"]
        assert reader.code == 4401
    assert (await other_client.request("GET", f"/api/threads/{thread}/")).status == 404
    assert (await other_client.request("PATCH", f"/api/threads/{thread}/", {"title": "x"})).status == 404


async def test_a_private_thread_and_another_team_s_are_missing(
    client: Client, other_client: Client, teams: None, mates: None
) -> None:
    private = (await client.request("POST", "/api/threads/", {"metadata": {"team": "none"}})).json()["id"]
    theirs = await sync_to_async(ThreadFactory.create)()
    for thread in (private, theirs.pk):
        assert (await other_client.request("GET", f"/api/threads/{thread}/")).status == 404
    assert (await other_client.request("GET", "/api/threads/")).json()["results"] == []


def test_the_verbs_of_the_store_refuse_a_reader(
    user: AbstractUser, other_user: AbstractUser, teams: None, mates: None
) -> None:
    thread = ThreadFactory.create(owner=user)
    message = MessageFactory.create(thread=thread)
    TurnFactory.create(thread=thread, status="streaming")
    reader = Scope(other_user.pk)
    wanted: dict[str, Any] = {"fingerprint": "f", "request": {}, "user_message": queue.NewUserMessage([])}
    for verb in (
        lambda: turns.request_stop(reader, thread.pk),
        lambda: versions.restore(reader, message.pk),
        lambda: queue.enqueue_turn(reader, thread.pk, "t", most=5, **wanted),
        lambda: threads.update_thread(reader, thread.pk, metadata={}),
        lambda: threads.delete_thread(reader, thread.pk),
    ):
        with pytest.raises(ReadOnly):
            verb()
    assert Turn.objects.filter(stop_requested_at=None).count() == 1


def test_the_list_of_a_team_uses_the_index_of_the_owners(user: AbstractUser, teams: None, mates: None) -> None:
    UserFactory.create_batch(100)
    rows("INSERT INTO chat_threads (owner_id) SELECT id FROM auth_user, generate_series(1, 200)")
    rows("ANALYZE chat_threads")
    plan = rows(
        "EXPLAIN SELECT id FROM chat_threads WHERE /*visible thread*/ ORDER BY updated_at DESC, id LIMIT 50",
        scope_user=user.pk,
    )
    text = "\n".join(one["QUERY PLAN"] for one in plan)
    assert "chat_threads_owner" in text, text
    assert "Seq Scan on chat_threads" not in text, text


def test_staff_find_in_the_admin_what_the_policy_lets_them(
    teams: None, mates: None, user: AbstractUser, other_user: AbstractUser, admin_client: Any, client: Client
) -> None:
    staff = UserFactory.create(is_staff=True, is_superuser=False)
    from django.contrib.auth.models import Permission
    from django.test import Client as Browser

    staff.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    browser = Browser()
    browser.force_login(staff)
    thread = ThreadFactory.create(owner=user, title="Quarterly numbers")
    message = MessageFactory.create(thread=thread, parts=[{"type": "text", "text": "The figures"}])
    pages = ("/admin/chat/thread/", "/admin/chat/message/")
    for page in pages:
        assert b"Quarterly numbers" not in browser.get(page).content, page
        assert b"Quarterly numbers" in admin_client.get(page).content, page
    assert browser.get(f"/admin/chat/thread/{thread.pk}/change/").status_code == 302
    assert browser.get(f"/admin/chat/message/{message.pk}/change/").status_code == 302
    assert browser.get("/admin/chat/tokenusage/by-day/").status_code == 403
    Group.objects.get().user_set.add(staff)
    for page in (*pages, f"/admin/chat/thread/{thread.pk}/change/"):
        assert b"Quarterly numbers" in browser.get(page).content, page


def leads_to_a_thread(model: type[Model], *way: type[Model]) -> bool:
    """Whether rows of this model belong to a thread, by themselves or by others."""
    fields = [field.related_model for field in model._meta.get_fields() if field.concrete and field.is_relation]
    return model is Thread or any(leads_to_a_thread(one, model, *way) for one in fields if one not in (model, *way))


def test_no_admin_of_what_belongs_to_a_thread_forgets_the_policy(teams: None, rf: RequestFactory) -> None:
    one_of_each()
    request = rf.get("/admin/")
    request.user = UserFactory.create(is_staff=True)
    found = [one for one in admin.site._registry.values() if isinstance(one, ReadOnlyAdmin)]
    of_threads = [one for one in found if leads_to_a_thread(one.model)]
    assert ToolApproval in [one.model for one in of_threads]
    for one in of_threads:
        assert one.model._default_manager.exists(), f"{one}: make a row in tests/admin/pages.py"
        assert not one.get_queryset(request).exists(), f"{one} needs a `thread`"
    Group.objects.create(name="All").user_set.set(get_user_model().objects.all())
    for one in of_threads:
        assert one.get_queryset(request).exists(), one


class Broken(OwnerOnly):
    def may_see(self, user: str) -> str:
        return "no_such_column = 1"


class Unsayable(OwnerOnly):
    def may_administer(self, user: str) -> str:
        return "'\ud800' = ''"


class Wordless(OwnerOnly):
    def may_write(self, user: str) -> Any:
        return None


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("no.such.Policy", "ModuleNotFoundError"),
        ("tests.api.test_policy.Broken", "no_such_column"),
        ("tests.api.test_policy.Wordless", "may_write gives NoneType"),
        ("tests.api.test_policy.Unsayable", "may_administer: 'utf-8' codec"),
    ],
)
def test_a_policy_that_cannot_be_is_told_by_check(path: str, says: str, settings: Any, db: None) -> None:
    settings.CHAT_ACCESS_POLICY = path
    (problem,) = [one for one in run_checks(databases=["default"]) if one.id == "chat.E022"]
    assert says in problem.msg
