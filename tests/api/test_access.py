"""Who may ask, and what they learn."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.management import CommandError, call_command
from django.test import Client as DjangoClient
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from chat.access.authentication import Bearer, SessionOrOrigin
from chat.models import ApiToken, Message, Thread, Turn
from chat.store.tokens import create_token
from chat.testing.client import Client, said

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
ORIGIN = {"origin": "http://testserver"}


@pytest.fixture
def session(user: AbstractUser) -> Client:
    """The ASGI application, asked with a session cookie."""
    browser = DjangoClient()
    browser.force_login(user)
    return Client({"cookie": f"sessionid={browser.cookies['sessionid'].value}"})


PATHS = [
    ("POST", "/api/chat"),
    ("GET", "/api/chat/t1/stream"),
    ("POST", "/api/chat/t1/stop"),
    ("GET", "/api/turns/1"),
    ("GET", "/api/turns/1/stream"),
    ("POST", "/api/turns/1/approvals/"),
    ("GET", "/api/threads/"),
    ("POST", "/api/threads/"),
    ("GET", "/api/threads/t1/"),
    ("PATCH", "/api/threads/t1/"),
    ("DELETE", "/api/threads/t1/"),
    ("GET", "/api/threads/t1/state/"),
    ("GET", "/api/threads/t1/messages/"),
    ("POST", "/api/threads/t1/messages/"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer nonsense"}, {"cookie": "sessionid=nonsense"}])
async def test_nobody_gets_in(method: str, path: str, headers: dict[str, str], transactional_db: None) -> None:
    refused = await Client(headers).request(method, path, said("t1", "Hello"), ORIGIN)
    assert refused.status == 401, refused.body
    assert refused.json()["error"]["code"] == "not_authenticated"
    assert not await Thread.objects.aexists()


async def test_a_session_of_the_same_origin_needs_no_token(session: Client) -> None:
    response = await session.request("POST", "/api/chat", said("t1", "/tokens 1 0"), ORIGIN)
    assert response.status == 200
    assert (await session.request("GET", "/api/threads/t1/messages/")).status == 200
    assert (await session.request("PATCH", "/api/threads/t1/", {"title": "x"}, ORIGIN)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://testserver"},
        {"origin": "http://testserver.evil.example"},
        {"origin": "http://testserver", "content-type": "text/plain"},
        {"origin": "http://testserver", "content-type": "application/x-www-form-urlencoded"},
        {"x-csrftoken": "x" * 32},
    ],
)
@pytest.mark.parametrize(("method", "path"), [one for one in PATHS if one[0] != "GET"])
async def test_a_session_from_elsewhere_is_refused(
    session: Client, method: str, path: str, headers: dict[str, str]
) -> None:
    refused = await session.request(method, path, said("t1", "Hello"), headers)
    assert (refused.status, refused.json()["error"]["code"]) == (403, "csrf_failed")
    assert not await Thread.objects.aexists()


async def test_a_session_with_a_csrf_token_is_served(session: Client) -> None:
    token = "a" * 32
    headers = {"cookie": session.headers["cookie"] + f"; csrftoken={token}", "x-csrftoken": token}
    assert (await session.request("POST", "/api/threads/", {}, headers)).status == 201


async def test_a_trusted_origin_is_served(session: Client, settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.example.org", "https://*.example.net"]
    for origin, status in [
        ("https://app.example.org", 201),
        ("https://a.example.net", 201),
        ("https://evil-example.net", 403),
        ("http://a.example.net", 403),
    ]:
        assert (await session.request("POST", "/api/threads/", {}, {"origin": origin})).status == status, origin


@pytest.mark.parametrize("path", ["/api/threads/", "/api/chat/t1/stream"])
async def test_a_host_that_is_not_served_is_refused(client: Client, path: str) -> None:
    assert (await client.request("GET", path, headers={"host": "evil.example"})).status == 400


async def test_another_s_objects_answer_as_missing_ones_do(client: Client, other_client: Client) -> None:
    chunks = (await client.send("t1", "/tokens 1 0")).chunks()
    thread, pk = chunks[0]["messageMetadata"]["thread_id"], chunks[1]["data"]["turn"]
    missing = uuid.uuid4()
    for method, theirs, nowhere in [
        ("GET", f"/api/threads/{thread}/", f"/api/threads/{missing}/"),
        ("PATCH", f"/api/threads/{thread}/", f"/api/threads/{missing}/"),
        ("DELETE", f"/api/threads/{thread}/", f"/api/threads/{missing}/"),
        ("GET", f"/api/threads/{thread}/state/", f"/api/threads/{missing}/state/"),
        ("GET", f"/api/threads/{thread}/messages/", f"/api/threads/{missing}/messages/"),
        ("POST", f"/api/threads/{thread}/messages/", f"/api/threads/{missing}/messages/"),
        ("GET", f"/api/turns/{pk}", "/api/turns/999999"),
        ("GET", f"/api/turns/{pk}/stream", "/api/turns/999999/stream"),
        ("GET", f"/api/turns/{pk}/stream?after={pk}-1", "/api/turns/999999/stream?after=999999-1"),
        ("GET", f"/api/chat/{thread}/stream?after={pk}-1", f"/api/chat/{missing}/stream?after={pk}-1"),
        ("GET", f"/api/chat/{thread}/stream", f"/api/chat/{missing}/stream"),
        ("POST", f"/api/chat/{thread}/stop", f"/api/chat/{missing}/stop"),
        ("POST", f"/api/turns/{pk}/approvals/", "/api/turns/999999/approvals/"),
    ]:
        decisions = [{"tool_call_id": "c", "approved": True}]
        body = {"role": "user", "content": "x", "title": "x", "decisions": decisions}
        one = await other_client.request(method, theirs, body)
        two = await other_client.request(method, nowhere, body)
        assert one.status == two.status
        assert one.status in (404, 204)
        assert one.body == two.body
    assert (await client.request("GET", f"/api/threads/{thread}/")).json()["title"] == "/tokens 1 0"


async def test_the_same_client_chosen_id_is_another_thread_for_another_user(
    client: Client, other_client: Client
) -> None:
    await client.send("t1", "/tokens 1 0", "m1")
    await other_client.send("t1", "/tokens 2 0", "m1")
    assert await Thread.objects.acount() == 2
    assert await Message.objects.acount() == 4


async def test_the_uuid_of_another_s_thread_is_only_a_name_for_a_new_one(client: Client, other_client: Client) -> None:
    chunks = (await client.send("t1", "/tokens 1 0")).chunks()
    theirs = chunks[0]["messageMetadata"]["thread_id"]
    mine = (await other_client.send(theirs, "/tokens 1 0")).chunks()[0]["messageMetadata"]["thread_id"]
    assert mine != theirs
    assert len((await client.request("GET", f"/api/threads/{theirs}/messages/")).json()["results"]) == 2


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-1", "1-1-1", "1--1", "1-+1", "١-١", "1" * 30 + "-1", "1-1%00"])
async def test_a_malformed_cursor_is_a_400(client: Client, cursor: str) -> None:
    await client.send("t1", "/tokens 1 0")
    for path in (f"/api/chat/t1/stream?after={cursor}", f"/api/turns/1/stream?after={cursor}"):
        path = "".join(letter if letter.isascii() else "%D9%A1" for letter in path)
        refused = await client.request("GET", path)
        assert (refused.status, refused.json()["error"]["field"]) == (400, "after")


@pytest.mark.parametrize("cursor", ["", "x", "1", "1-", "-1", "1-1-1", "1-+1", "1" * 30 + "-1", "\xb2-1"])
async def test_a_malformed_cursor_is_a_400_also_where_a_browser_sends_it_by_itself(client: Client, cursor: str) -> None:
    await client.send("t1", "/tokens 1 0")
    for path in ("/api/chat/t1/stream", "/api/turns/1/stream"):
        refused = await client.request("GET", path, headers={"last-event-id": cursor})
        assert (refused.status, refused.json()["error"]["field"]) == (400, "Last-Event-ID")


async def test_a_cursor_of_another_thread_is_a_404_also_between_threads_of_ones_own(client: Client) -> None:
    one, other = [(await client.send(name, "/tokens 1 0", name)).chunks()[1]["data"]["turn"] for name in ("t1", "t2")]
    for path in ("/api/chat/t1/stream", f"/api/turns/{one}/stream"):
        for refused in (
            await client.request("GET", f"{path}?after={other}-1"),
            await client.request("GET", path, headers={"last-event-id": f"{other}-1"}),
        ):
            assert (refused.status, refused.json()["error"]["code"]) == (404, "turn_not_found")


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_page_of_another_origin_reads_no_answer_of_ours(session: Client, origin: str) -> None:
    """A browser gives an answer to such a page only where a header of the answer says so."""
    await session.request("POST", "/api/chat", said("t1", "/tokens 1 0", "m1"), ORIGIN)
    pk = (await Turn.objects.aget()).pk
    for path in (f"/api/turns/{pk}/stream", f"/api/turns/{pk}", "/api/threads/t1/messages/", "/api/threads/"):
        answer = await session.request("GET", path, headers={"origin": origin})
        assert answer.status == 200
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/api/threads/", "/api/chat/t1/stream"])
async def test_a_host_that_a_client_says_it_came_by_is_not_believed(client: Client, path: str) -> None:
    served = {"x-forwarded-host": "testserver", "forwarded": "host=testserver"}
    assert (await client.request("GET", path, headers={"host": "evil.example", **served})).status == 400
    foreign = {"x-forwarded-host": "evil.example", "x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https"}
    answer = await client.request("GET", path, headers=foreign)
    assert answer.status in (200, 204)
    assert b"evil.example" not in answer.body


async def test_a_revoked_token_and_an_inactive_user_are_nobody(user: AbstractUser, client: Client) -> None:
    assert (await client.request("GET", "/api/threads/")).status == 200
    await ApiToken.objects.aupdate(revoked_at="2026-01-01T00:00:00Z")
    assert (await client.request("GET", "/api/threads/")).status == 401
    await ApiToken.objects.aupdate(revoked_at=None)
    user.is_active = False
    await user.asave()
    assert (await client.request("GET", "/api/threads/")).status == 401


def test_a_token_is_stored_as_a_digest_only(user: AbstractUser, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_token", user.get_username(), "--name", "laptop")
    token = capsys.readouterr().out.strip()
    stored = ApiToken.objects.get()
    assert stored.name == "laptop"
    assert len(stored.digest) == 64
    assert token not in str(vars(stored))
    assert create_token(user.get_username()) != token
    with pytest.raises(CommandError, match="no user"):
        call_command("create_token", "nobody")
    with pytest.raises(CommandError, match=r"--name: .* at most 100 characters"):
        call_command("create_token", user.get_username(), "--name", "x" * 101)
    assert ApiToken.objects.count() == 2


class HostsView(APIView):
    """A view of the host's own."""

    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        return Response({})

    post = get


@pytest.mark.parametrize("authenticators", [[Bearer], [SessionOrOrigin, Bearer]])
def test_a_view_of_the_hosts_own_that_lets_our_authenticators_ask_answers_401_and_403(
    user: AbstractUser, authenticators: list[type[BaseAuthentication]]
) -> None:
    view = HostsView.as_view(authentication_classes=authenticators)
    token = create_token(user.get_username())
    made = APIRequestFactory(enforce_csrf_checks=True)
    for header, status in ((f"Bearer {token}", 200), ("Bearer nonsense", 401), ("Bearer", 401), ("", 401)):
        answer = view(made.get("/", headers={"authorization": header} if header else {}))
        assert answer.status_code == status, header
        assert ("WWW-Authenticate" in answer) == (status == 401)
    request = made.post("/", {})
    request.user = user
    refused = view(request)
    assert refused.status_code == (403 if SessionOrOrigin in authenticators else 401)
