"""The OpenAPI schema: valid, complete, and true of what the API really answers."""

from __future__ import annotations

import re
from dataclasses import astuple
from typing import Any

import pytest
from django.apps import apps
from django.urls import get_resolver
from drf_spectacular.validation import validate_schema
from pydantic import TypeAdapter

from chat.api import shapes
from chat.api.operations import OPERATIONS
from chat.testing.client import Client
from tests.api.endpoints import ENDPOINTS
from tests.api.test_matrix import methods_of, walk

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
# What is no API: pages and probes, and the schema itself.
OTHERS = {
    "chat-home",
    "chat-thread",
    "chat-shared",
    "login",
    "logout",
    "thread-socket",
    "healthz",
    "readyz",
    "metrics",
    "schema",
    "docs",
}


async def schema(client: Client) -> dict[str, Any]:
    response = await client.request("GET", "/api/schema/?format=json")
    assert response.status == 200, response.body
    found: dict[str, Any] = response.json()
    return found


async def test_the_schema_is_valid_openapi(client: Client) -> None:
    validate_schema(await schema(client))


def test_the_schema_misses_no_endpoint_and_no_method() -> None:
    assert set(OPERATIONS) == set(ENDPOINTS) - OTHERS
    for name, _, view in walk(get_resolver().url_patterns):
        if name in OPERATIONS:
            assert {method.upper() for method in OPERATIONS[name]} == methods_of(view), name


async def test_the_schema_names_every_status_that_some_asker_gets(client: Client) -> None:
    paths = (await schema(client))["paths"]
    addresses = {
        name: "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path) for name, path, _ in walk(get_resolver().url_patterns)
    }
    untold = {
        (name, method, status)
        for name in OPERATIONS
        for method, case in ENDPOINTS[name].items()
        for status in astuple(case.rule)
        if str(status) not in paths[addresses[name]][method.lower()]["responses"]
    }
    assert untold == set()


async def test_a_stream_is_told_as_one(client: Client) -> None:
    paths = (await schema(client))["paths"]
    resume = paths["/api/chat/{thread_id}/stream"]["get"]
    for operation in (paths["/api/chat"]["post"], resume, paths["/api/turns/{pk}/stream"]["get"]):
        answer = operation["responses"]["200"]
        assert list(answer["content"]) == ["text/event-stream"]
        assert "x-vercel-ai-ui-message-stream" in answer["headers"]
    assert "204" in resume["responses"]
    assert paths["/api/threads/{thread_id}/messages/"]["post"]["deprecated"] is True


async def test_real_answers_have_the_shapes_that_the_schema_says(client: Client) -> None:
    await client.send("t1", "/tool", "m1")
    await client.request("PATCH", "/api/threads/t1/", {"title": "The harbour"})
    messages = (await client.request("GET", "/api/threads/t1/messages/")).json()
    answer = messages["results"][1]["id"]
    await client.request("PUT", f"/api/messages/{answer}/feedback/", {"rating": "up"})
    await client.request("POST", "/api/threads/t1/shares/", {})
    turn = (await client.request("GET", "/api/threads/t1/state/")).json()["cursor"].split("-")[0]
    checked = 0
    for name, path in [
        ("threads", "/api/threads/"),
        ("thread", "/api/threads/t1/"),
        ("thread-state", "/api/threads/t1/state/"),
        ("messages", "/api/threads/t1/messages/"),
        ("message-versions", f"/api/messages/{answer}/versions/"),
        ("turn", f"/api/turns/{turn}"),
        ("search", "/api/search/?q=harb"),
        ("usage", "/api/usage/"),
        ("shares", "/api/threads/t1/shares/"),
        ("thread-feedback", "/api/threads/t1/feedback/"),
        ("tokens", "/api/tokens/"),
        ("export", "/api/export/"),
        ("thread-export", "/api/threads/t1/export/"),
    ]:
        response = await client.request("GET", path)
        assert response.status == 200, path
        shape = OPERATIONS[name]["get"].answer
        found = TypeAdapter(shape).validate_json(response.body)
        if isinstance(found, shapes.Page):
            assert found.results, name
        checked += 1
    assert checked == 13


async def test_the_page_has_nothing_inline_and_nothing_foreign(client: Client) -> None:
    page = (await client.request("GET", "/api/docs/", headers={"accept": "text/html"})).body.decode()
    assert "<style" not in page
    assert "://" not in page
    assert page.count("<script") == page.count("<script src=") == 3
    script = await client.request("GET", "/api/docs/?script=")
    assert b"/api/schema/" in script.body


@pytest.mark.parametrize("app", ["drf_spectacular", "drf_spectacular_sidecar"])
async def test_without_the_apps_that_have_its_scripts_there_is_no_page(
    client: Client, monkeypatch: pytest.MonkeyPatch, app: str
) -> None:
    there = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda name: name != app and there(name))
    for path in ("/api/docs/", "/api/docs/?script="):
        assert (await client.request("GET", path)).status == 404
