"""How much one client may ask, and how large and deep a body may be, before anything is parsed."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.test import Client as Browser

from chat.access import throttle
from chat.access.throttle import KNOWN, Throttle
from chat.errors import TooManyRequests
from chat.models import ApiToken
from chat.testing.client import Client
from tests.ws.sockets import socket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


@pytest.fixture(autouse=True)
def _full_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("requests", "strangers", "logins", "logins_of_address"):
        monkeypatch.setattr(throttle, name, Throttle(f"{name.upper()}_A_MINUTE"))


async def test_a_user_who_asks_too_much_is_refused_everywhere_and_others_are_not(
    client: Client, other_client: Client, settings: Any
) -> None:
    await client.request("POST", "/api/threads/", {"id": "t1"})
    settings.CHAT_REQUESTS_A_MINUTE = 3
    async with socket(client, "/ws/threads/t1/") as opened:
        statuses = [(await client.request("GET", "/api/threads/")).status for _ in range(4)]
        assert statuses == [200, 200, 429, 429], "the handshake was the first"
        for method, path in [("GET", "/api/threads/"), ("GET", "/api/chat/t1/stream"), ("POST", "/api/chat")]:
            refused = await client.request(method, path, {"id": "t1"})
            assert (refused.status, refused.json()["error"]["code"]) == (429, "too_many_requests")
            assert 1 <= int(refused.headers["retry-after"]) <= 20
        await opened.say({"stop": {}})
        frame = await opened.hear()
        assert frame is not None
        assert frame["error"]["code"] == "too_many_requests"
    assert (await other_client.request("GET", "/api/threads/")).status == 200


@pytest.mark.parametrize("path", ["/api/threads/", "/api/chat/t1/stream", "/api/shared/guess/"])
async def test_a_stranger_s_guesses_are_counted(settings: Any, path: str, transactional_db: None) -> None:
    settings.CHAT_STRANGERS_A_MINUTE = 2
    guesses = [(await Client({"authorization": f"Bearer {n}"}).request("GET", path)).status for n in range(4)]
    assert guesses[2:] == [429, 429]
    assert set(guesses[:2]) <= {401, 404}


async def test_where_strangers_guess_too_much_no_guess_is_looked_up_and_who_is_in_stays_in(
    client: Client, other_client: Client, settings: Any, django_db_blocker: Any
) -> None:
    paths = ("/api/threads/", "/api/chat/t1/stream")
    settings.CHAT_STRANGERS_A_MINUTE = 2
    assert (await client.request("GET", paths[0])).status == 200
    for guess in range(2):
        await Client({"authorization": f"Bearer {guess}"}).request("GET", paths[guess])
    with django_db_blocker.block():
        for headers in ({"authorization": "Bearer 3"}, {"cookie": "sessionid=3"}):
            assert [(await Client(headers).request("GET", path)).status for path in paths] == [429, 429]
    assert [(await client.request("GET", path)).status for path in paths] == [200, 204]
    assert (await other_client.request("GET", paths[0])).status == 429, "the first look at it is a statement, too"
    await ApiToken.objects.aupdate(revoked_at="2026-01-01T00:00:00Z")
    await client.request("GET", paths[0])
    with django_db_blocker.block():
        assert (await client.request("GET", paths[0])).status == 429


async def test_a_handshake_is_counted(client: Client, settings: Any) -> None:
    await client.request("POST", "/api/threads/", {"id": "t1"})
    settings.CHAT_STRANGERS_A_MINUTE = settings.CHAT_REQUESTS_A_MINUTE = 2
    for asker, code in ((Client({}), 4401), (client, None)):
        for expected in (code, code, 4429):
            async with socket(asker, "/ws/threads/t1/") as opened:
                if expected:
                    assert await opened.hear() is not None
                    assert (await opened.hear(), opened.code) == (None, expected)


def test_where_logins_have_failed_too_often_not_even_the_right_password_is_looked_at(
    user: AbstractUser, other_user: AbstractUser, settings: Any
) -> None:
    settings.CHAT_LOGINS_A_MINUTE = 2

    def tried(asker: AbstractUser, password: str, path: str = "/login/", address: str = "10.0.0.1") -> int:
        form = {"username": asker.get_username(), "password": password}
        return Browser().post(path, form, REMOTE_ADDR=address).status_code

    assert [tried(user, "secret") for _ in range(3)] == [302] * 3, "a good one is not counted"
    assert [tried(user, "wrong") for _ in range(3)] == [200, 200, 429]
    assert tried(user, "secret") == 429
    assert tried(other_user, "secret") == tried(user, "secret", address="10.0.0.2") == 302, "nobody else is kept out"


def test_a_guess_at_the_admin_s_login_counts_as_one_at_the_page_s(admin_user: AbstractUser, settings: Any) -> None:
    settings.CHAT_LOGINS_A_MINUTE = 2
    form = {"username": admin_user.get_username(), "password": "wrong"}
    assert [Browser().post(path, form).status_code for path in ("/admin/login/", "/login/")] == [200, 200]
    refused = Browser().post("/admin/login/", {**form, "password": "password"})
    assert (refused.status_code, TooManyRequests.message in refused.content.decode()) == (200, True)
    settings.CHAT_LOGINS_A_MINUTE = 0
    assert Browser().post("/admin/login/", {**form, "password": "password"}).status_code == 302


def test_names_that_are_tried_from_one_address_are_counted_together(user: AbstractUser, settings: Any) -> None:
    settings.CHAT_LOGINS_A_MINUTE, settings.CHAT_LOGINS_OF_ADDRESS_A_MINUTE = 1, 3
    names = ["a", "a", "b", "a", "c", "d"]  # refused under one name, it is no guess for the address
    statuses = [Browser().post("/login/", {"username": name, "password": "x"}).status_code for name in names]
    assert statuses == [200, 429, 200, 429, 200, 429]
    form = {"username": user.get_username(), "password": "secret"}
    assert Browser().post("/login/", form).status_code == 429
    assert Browser().post("/login/", form, REMOTE_ADDR="10.0.0.2").status_code == 302


def test_a_bucket_is_filled_again_and_those_long_away_are_forgotten(settings: Any) -> None:
    settings.CHAT_REQUESTS_A_MINUTE = 60
    now = 0.0
    bucket = Throttle("REQUESTS_A_MINUTE", clock=lambda: now)
    for _ in range(60):
        bucket.take(1)
    with pytest.raises(TooManyRequests):
        bucket.take(1)
    now = 2.5
    bucket.take(1)
    bucket.take(1)
    with pytest.raises(TooManyRequests):
        bucket.take(1)
    for other in range(KNOWN + 5):
        bucket.take(-other)
    bucket.take(1)


@pytest.mark.parametrize("path", ["/api/threads/", "/api/chat", "/api/import/", "/api/threads/t1/messages/"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 400),
        (b'{"id": "t1", "metadata": ' + b'{"a":' * 200 + b"1" + b"}" * 201, 400),
        (b'{"id": "t1", "metadata": {"n": ' + b"9" * 5000 + b"}}", 400),
        (b'{"id": "t1", "metadata": {"n": 1e400}}', 400),
        (b'{"id": "' + b"x" * 300_000 + b'"}', 413),
    ],
)
async def test_what_is_too_deep_too_long_or_too_large_is_refused(
    client: Client, settings: Any, path: str, body: bytes, status: int
) -> None:
    settings.CHAT_MAX_BODY_BYTES = 260_000 if status == 413 else 1_000_000
    await client.request("POST", "/api/threads/", {"id": "t1"})
    refused = await client.request("POST", path, body)
    assert refused.status == status, refused.body


async def test_a_body_over_django_s_own_bound_for_forms_is_read(client: Client) -> None:
    body = b'{"format": "durable-chat", "version": 1, "threads": [], "x": "' + b"x" * 5_000_000 + b'"}'
    assert (await client.request("POST", "/api/import/", body)).status == 200
