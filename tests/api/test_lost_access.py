"""An open stream ends when its reader may not read any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractUser
from django.test import Client as Browser

from chat.models import ApiToken, Thread, Turn
from chat.store.tokens import create_token
from chat.streams import readers
from chat.testing.client import HOST, Client, said
from tests.ws.sockets import socket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


@pytest.fixture(autouse=True)
def _looks_often(settings: Any) -> None:
    settings.CHAT_ACCESS_CHECK_SECONDS = 0.1


@pytest.fixture
def browser(user: AbstractUser) -> Browser:
    browser = Browser()
    browser.force_login(user)
    return browser


@pytest.fixture
def page(browser: Browser) -> Client:
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in browser.cookies.items())
    return Client({"cookie": cookies, "origin": f"http://{HOST}"})


async def assert_shut_out(reader: Client, act: Callable[[], Awaitable[object]]) -> None:
    async with reader.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as stream:
        assert stream.status == 200
        await asyncio.sleep(0.3)
        assert len(readers._readers) == 1, "who may read is left alone"
        await act()
        body = await asyncio.wait_for(stream.body(), 5)
    assert b"[DONE]" not in body
    assert len(readers._readers) == 0
    assert (await Turn.objects.aget()).status == "streaming", "a reader's end is not a stop"


async def test_logging_out_ends_the_streams_of_that_session(page: Client, browser: Browser) -> None:
    await assert_shut_out(page, sync_to_async(browser.logout))


async def test_a_new_password_ends_the_streams_of_older_sessions(page: Client, user: AbstractUser) -> None:
    def change() -> None:
        user.set_password("another")
        user.save()

    await assert_shut_out(page, sync_to_async(change))


async def test_a_revoked_token_ends_its_streams(client: Client) -> None:
    await assert_shut_out(client, lambda: ApiToken.objects.aupdate(revoked_at="2026-01-01T00:00Z"))


async def test_a_deactivated_user_is_shut_out(client: Client, user: AbstractUser) -> None:
    def deactivate() -> None:
        user.is_active = False
        user.save()

    await assert_shut_out(client, sync_to_async(deactivate))


async def test_a_deleted_thread_ends_its_streams(client: Client) -> None:
    await assert_shut_out(client, lambda: Thread.objects.aupdate(deleted_at="2026-01-01T00:00Z"))


async def test_other_readers_stay(client: Client, page: Client, browser: Browser, user: AbstractUser) -> None:
    other = Client({"authorization": f"Bearer {await sync_to_async(create_token)(user.get_username())}"})
    async with client.stream("POST", "/api/chat", said("t1", "/tokens 150 10", "m1")) as kept:
        pk = (await Turn.objects.aget()).pk
        async with page.stream("GET", f"/api/turns/{pk}/stream") as lost, other.stream("GET", "/api/chat/t1/stream"):
            await sync_to_async(browser.logout)()
            await asyncio.wait_for(lost.body(), 5)
            assert len(readers._readers) == 2
        assert b"[DONE]" in await kept.body()


async def test_what_an_open_socket_sends_for_a_revoked_token_is_refused_at_once(client: Client, settings: Any) -> None:
    settings.CHAT_ACCESS_CHECK_SECONDS = 60
    await client.send("t1", "/tokens 1 0", "m1")
    async with socket(client, "/ws/threads/t1/") as line:
        await ApiToken.objects.aupdate(revoked_at="2026-01-01T00:00Z")
        message = said("t1", "/tokens 1 0", "m2")["messages"]
        for frame in ({"submit": {"messages": message}, "ref": 1}, {"stop": {}, "ref": 2}):
            await line.say(frame)
            heard = await line.hear()
            assert heard is not None
            assert (heard["error"]["code"], heard["ref"]) == ("access_lost", frame["ref"])
    assert await Turn.objects.acount() == 1
