"""Every address of the project as every kind of asker. An address that the table does not know fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractUser, Group
from django.test import Client as Browser
from django.urls import URLPattern, URLResolver, get_resolver

from chat.access.scopes import scope_of
from chat.models import ApiToken, Attachment, CopilotChat
from chat.store.attachments import save_attachment
from chat.store.shares import create_share
from chat.store.tokens import create_token, find_token
from chat.testing.client import Client
from tests.api.endpoints import ENDPOINTS, PLANTED, Case, World, arguments
from tests.factories import MessageFactory, ThreadFactory, TurnFactory, UserFactory
from tests.ws.sockets import socket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained", "teams")]

CASES = [(name, method) for name, methods in ENDPOINTS.items() for method in methods]
ASKERS = ("owner", "mate", "other team", "other user", "superuser", "anonymous", "inactive", "revoked")
PAGES = ("chat-home", "chat-thread", "login", "logout")


def walk(patterns: list[Any], prefix: str = "", space: str = "") -> Iterator[tuple[str, str, Any]]:
    """Namespace and name, path and view of every pattern."""
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from walk(pattern.url_patterns, path, pattern.namespace or space)
        else:
            assert isinstance(pattern, URLPattern)
            yield f"{space}:{pattern.name}" if space else (pattern.name or path), path, pattern.callback


def methods_of(view: Any) -> set[str]:
    if hasattr(view, "method"):
        return {view.method}
    if (kind := getattr(view, "cls", None)) is not None:  # the framework's views
        return {name.upper() for name in kind.http_method_names if hasattr(kind, name)} - {"OPTIONS", "HEAD", "TRACE"}
    return set()


def test_the_table_knows_every_address_and_every_method() -> None:
    known, unknown = set(), set()
    for name, path, view in walk(get_resolver().url_patterns):
        if name.startswith("admin:"):
            continue  # below: all of them alike
        known.add(name)
        if name not in ENDPOINTS or not methods_of(view) <= set(ENDPOINTS[name]):
            unknown.add((name, path, *sorted(methods_of(view))))
        if hasattr(view, "websocket"):
            assert name == "thread-socket", "a socket that no test opens as everybody"
    assert not unknown, "say in tests/api/endpoints.py who may do what"
    assert known == set(ENDPOINTS), "and take out what is gone"


@pytest.fixture
def world(user: AbstractUser) -> World:
    thread = ThreadFactory.create(owner=user, title=PLANTED)
    turn = TurnFactory.create(thread=thread, turn_id="t1")
    question = MessageFactory.create(thread=thread, turn_id="t1", parts=[{"type": "text", "text": PLANTED}])
    answer = MessageFactory.create(
        thread=thread, turn_id="t1", role="assistant", parent=question, parts=[{"type": "text", "text": PLANTED}]
    )
    message = {"id": "stream-1", "role": "user", "content": PLANTED, "timestamp": "2026-01-01T00:00:00Z"}
    chat = CopilotChat.objects.create(user=user, title=PLANTED, messages=[message])
    TurnFactory.create(thread=None, copilot_chat=chat, user=user, turn_id="stream-1")
    asker = scope_of(user)
    secret, share = create_share(asker, thread.pk, None)
    file = save_attachment(asker, BytesIO(b"hello"), filename="a.txt", media_type="text/plain", size=5)
    Attachment.objects.update(thread=thread)
    made = {"share": share["id"], "token": ApiToken.objects.create(user=user, digest="x").pk}
    return World(user, thread, question, answer, turn, chat, {"secret": secret, "attachment_id": file["id"]}, made)


def headers_of(kind: str, owner: AbstractUser, mates: Group) -> dict[str, str]:
    """An asker of that kind: by token for the API."""
    if kind == "anonymous":
        return {}
    if kind == "owner":
        asker = owner
    elif kind in ("inactive", "revoked"):
        asker = UserFactory.create(is_active=kind != "inactive")
        mates.user_set.add(asker)
    else:
        asker = UserFactory.create(is_superuser=kind == "superuser", is_staff=kind == "superuser")
        if kind == "mate":
            mates.user_set.add(asker)
        if kind == "other team":
            Group.objects.create(name="Others").user_set.add(asker)
    token = create_token(asker.get_username())
    if kind == "revoked":
        ApiToken.objects.filter(user=asker).update(revoked_at="2026-01-01T00:00:00Z")
    return {"authorization": f"Bearer {token}"}


def cookies_of(headers: dict[str, str]) -> dict[str, str]:
    """The same asker by session, for the pages; nobody's where the token is nobody's."""
    token = headers.get("authorization", "").removeprefix("Bearer ")
    found = find_token(token) if token else None
    if found is None:
        return {}
    browser = Browser()
    browser.force_login(found.user)
    return {"cookie": f"sessionid={browser.cookies['sessionid'].value}"}


def expected(case: Case, kind: str) -> int:
    rule = case.rule
    if kind in ("anonymous", "inactive", "revoked"):
        return rule.nobody
    return {"owner": rule.owner, "mate": rule.mate, "superuser": rule.superuser}.get(kind, rule.stranger)


@pytest.mark.parametrize("kind", ASKERS)
@pytest.mark.parametrize(("name", "method"), CASES)
async def test_every_asker_gets_what_is_theirs(name: str, method: str, kind: str, world: World) -> None:
    case = ENDPOINTS[name][method]

    def prepare() -> dict[str, str]:
        mates = Group.objects.create(name="Mates")
        mates.user_set.add(world.owner)
        case.before(world)
        headers = headers_of(kind, world.owner, mates)
        return cookies_of(headers) if name in PAGES else headers

    headers = await sync_to_async(prepare)()
    (path,) = [path for known, path, _ in walk(get_resolver().url_patterns) if known == name]
    given = arguments(world, name)
    address = "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda found: str(given[found[1]]), path)
    body = case.body(world) if callable(case.body) else case.body
    response = await Client(headers).request(method, f"{address}?{case.query}", body, case.headers)
    assert response.status == expected(case, kind), (address, response.body)
    if kind not in ("owner", "mate") and name not in ("shared", "chat-shared"):
        assert PLANTED.encode() not in response.body


@pytest.mark.parametrize("kind", ASKERS)
async def test_every_asker_gets_the_socket_that_is_theirs(kind: str, world: World) -> None:
    def prepare() -> dict[str, str]:
        mates = Group.objects.create(name="Mates")
        mates.user_set.add(world.owner)
        return headers_of(kind, world.owner, mates)

    client = Client(await sync_to_async(prepare)())
    async with socket(client, f"/ws/threads/{world.thread.pk}/") as opened:
        if kind in ("owner", "mate"):
            await opened.say({"stop": {}})
            frame = await opened.hear()
            assert frame is not None
            assert ("error" in frame) == (kind == "mate")
        else:
            while await opened.hear() is not None:
                pass
            assert opened.code == (4404 if kind in ("other team", "other user", "superuser") else 4401)
            assert PLANTED not in "".join(opened.texts)


def test_the_admin_is_for_staff_with_the_permission(world: World, client: Client) -> None:
    plain, staff = Browser(), Browser()
    plain.force_login(world.owner)
    staff.force_login(UserFactory.create(is_staff=True))
    pages = [
        "/" + re.sub(r"<path:object_id>", str(world.thread.pk), path)
        for name, path, _ in walk(get_resolver().url_patterns)
        if name.startswith("admin:") and "<path:content_type" not in path and "(?P" not in path
    ]
    assert len(pages) > 40
    for page in pages:
        for browser in (Browser(), plain):
            response = browser.get(page)
            # Its own login page aside, and the texts of its scripts, which are Django's.
            assert response.status_code == 302 or page.split("/")[-2] in ("login", "jsi18n", "logout"), page
            assert PLANTED.encode() not in response.content, page
        assert PLANTED.encode() not in staff.get(page).content, page
