"""Opinions of answers, and the tokens that people make for themselves."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.test import Client as Browser

from chat.models import ApiToken, Feedback
from chat.testing.client import Client

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def test_an_opinion_is_given_changed_and_taken_back(client: Client) -> None:
    await client.send("t1", "/tokens 1 0")
    question, answer = (await client.request("GET", "/api/threads/t1/messages/")).json()["results"]
    path = f"/api/messages/{answer['id']}/feedback/"
    for body in ({"rating": "up"}, {"rating": "down", "comment": "Too short"}):
        given = (await client.request("PUT", path, body)).json()
        assert given["rating"] == body["rating"]
    (listed,) = (await client.request("GET", "/api/threads/t1/feedback/")).json()["results"]
    assert (listed["message_id"], listed["comment"]) == (answer["id"], "Too short")
    assert await Feedback.objects.acount() == 1
    for _ in range(2):
        assert (await client.request("DELETE", path)).status == 204
    assert (await client.request("GET", "/api/threads/t1/feedback/")).json()["results"] == []
    assert (await client.request("PUT", f"/api/messages/{question['id']}/feedback/", {"rating": "up"})).status == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "rating"),
        ({"rating": "meh"}, "rating"),
        ({"rating": "up", "comment": "x" * 4001}, "comment"),
        ({"rating": "up", "comment": "\x00"}, "comment"),
        (b'{"rating": "up", "comment": "\\ud800"}', "comment"),
    ],
)
async def test_a_bad_opinion_is_refused_by_field(client: Client, body: Any, field: str) -> None:
    refused = await client.request("PUT", "/api/messages/1/feedback/", body)
    assert (refused.status, refused.json()["error"]["field"]) == (400, field)


async def test_a_session_makes_tokens_and_a_token_makes_none(user: AbstractUser, settings: Any) -> None:
    settings.CHAT_TOKENS_OF_USER = 2
    browser = Browser()
    await browser.aforce_login(user)
    session = Client({"cookie": f"sessionid={browser.cookies['sessionid'].value}", "origin": "http://testserver"})
    made = (await session.request("POST", "/api/tokens/", {"name": "laptop"})).json()
    bearer = Client({"authorization": f"Bearer {made['token']}"})
    (listed,) = (await bearer.request("GET", "/api/tokens/")).json()["results"]
    assert (listed["name"], listed["last_used_at"] is not None) == ("laptop", True)
    assert "token" not in listed
    assert made["token"] not in str(vars(await ApiToken.objects.aget()))
    refused = await bearer.request("POST", "/api/tokens/", {})
    assert (refused.status, refused.json()["error"]["code"]) == (403, "session_needed")
    assert (await session.request("POST", "/api/tokens/", {})).status == 201
    full = await session.request("POST", "/api/tokens/", {})
    assert (full.status, full.json()["error"]["code"]) == (409, "too_many_tokens")
    assert (await bearer.request("DELETE", f"/api/tokens/{made['id']}/")).status == 204
    assert (await bearer.request("GET", "/api/tokens/")).status == 401
    assert (await session.request("POST", "/api/tokens/", {})).status == 201
