"""Who gets a socket, and who keeps it: close codes, origins, tokens."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractUser
from django.test import Client as Browser
from django.test import override_settings

from chat.models import ApiToken, Turn
from chat.streams import readers, threads
from chat.testing.client import HOST, Client, said
from tests.ws.sockets import PATH, Refused, begun, socket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def refusal(client: Client, path: str, **headers: str) -> tuple[str, int | None]:
    async with socket(client, path, **headers) as tab:
        frame = await tab.hear()
        assert frame
        assert await tab.hear() is None
        return frame["error"]["code"], tab.code


async def test_close_codes_say_why(client: Client, other_client: Client) -> None:
    pk = await begun(client)
    await other_client.send("t2", "/tokens 1 0", "o")
    await client.send("t3", "/tokens 1 0", "own")
    foreign, elsewhere = [(await Turn.objects.aget(turn_id=name)).pk for name in ("o", "own")]
    assert await refusal(client, f"{PATH}?after=12") == ("invalid", 4400)
    assert await refusal(Client({}), PATH) == ("not_authenticated", 4401)
    assert await refusal(client, "/ws/threads/none/") == ("thread_not_found", 4404)
    assert await refusal(other_client, PATH) == ("thread_not_found", 4404)
    assert await refusal(client, f"{PATH}?after={foreign}-1") == ("turn_not_found", 4404)
    assert await refusal(client, f"{PATH}?after={elsewhere}-1") == ("turn_not_found", 4404)
    assert await refusal(client, f"{PATH}?after={pk}-999") == ("cursor_gone", 4410)


async def test_no_foreign_page_gets_a_socket_with_a_session(client: Client, user: AbstractUser) -> None:
    await begun(client)
    browser = Browser()
    await sync_to_async(browser.force_login)(user)
    cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in browser.cookies.items())
    for origin in (
        {},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": f"http://{HOST}.evil.example"},
    ):
        with pytest.raises(Refused):
            async with socket(Client({"cookie": cookie}), PATH, **origin):
                pass
    async with socket(Client({"cookie": cookie}), PATH, origin=f"http://{HOST}") as tab:
        await tab.say({"stop": {}})
        assert await tab.hear() == {"stop": {"turn": None}}


async def test_no_foreign_page_gets_a_socket_by_any_credentials_a_browser_sends_by_itself(
    client: Client, user: AbstractUser, settings: Any
) -> None:
    await begun(client)
    await sync_to_async(user.set_password)("secret")
    await user.asave()
    given = base64.b64encode(f"{user.get_username()}:secret".encode()).decode()
    settings.CHAT_AUTHENTICATION_CLASSES = ["rest_framework.authentication.BasicAuthentication"]
    basic = Client({"authorization": f"Basic {given}"})
    with pytest.raises(Refused):
        async with socket(basic, PATH, origin="https://evil.example"):
            pass
    async with socket(basic, PATH):  # no browser
        pass


async def test_a_page_may_offer_its_token_as_a_subprotocol(client: Client) -> None:
    await begun(client)
    token = client.headers["authorization"].removeprefix("Bearer ")
    async with socket(Client({}), PATH, **{"sec-websocket-protocol": f"chat, bearer.{token}"}) as tab:
        await tab.say({"stop": {}})
        assert await tab.hear() == {"stop": {"turn": None}}
    assert (await refusal(Client({}), PATH, **{"sec-websocket-protocol": "chat, bearer.x"}))[1] == 4401


async def test_a_plain_request_is_told_what_is_missing(client: Client) -> None:
    assert (await client.request("GET", PATH)).status == 426
    with pytest.raises(Refused):
        async with socket(client, "/ws/nowhere/"):
            pass


@override_settings(CHAT_ACCESS_CHECK_SECONDS=0.1)
async def test_a_socket_closes_when_its_reader_may_not_read_any_more(client: Client) -> None:
    await begun(client)
    async with socket(client, PATH) as tab:
        await tab.say({"submit": said("", "/hang", "m1")})
        await tab.until(turn_id="m1")
        await ApiToken.objects.aupdate(revoked_at="2026-01-01T00:00Z")
        frame: Any = {}
        while frame is not None:
            last, frame = frame, await tab.hear()
        assert (last["error"]["code"], tab.code) == ("access_lost", 4401)
    assert readers._readers == set()
    assert threads._watched == {}
