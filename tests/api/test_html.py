"""Answers as a page may show them."""

from __future__ import annotations

from typing import Any

import pytest

from chat.testing.client import Client
from tests.turns.agents import Says

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]

HTML = ["<p>Look at <em>this</em>:</p>\n", "<p>&lt;b&gt; is not bold</p>\n"]


@pytest.fixture
async def answer(client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of an answer of two texts around a thought."""
    settings.CHAT_AGENT = f"{Says.__module__}.{Says.__qualname__}"
    chunks = [
        {"type": "text-delta", "id": "1", "delta": "Look at *this*:"},
        {"type": "reasoning-delta", "id": "2", "delta": "*hm*"},
        {"type": "text-delta", "id": "3", "delta": "<b> is not bold"},
    ]
    monkeypatch.setattr(Says, "chunks", chunks)
    assert (await client.send("t1", "*mine*")).status == 200
    told = (await client.request("GET", "/api/threads/t1/messages/")).json()["results"][-1]
    assert "html" not in told
    identity: str = told["id"]
    return identity


async def test_an_answer_comes_with_html_where_it_is_asked_for(client: Client, answer: str) -> None:
    for path in ("/api/threads/t1/messages/?html=true", "/api/threads/t1/state/?html=true"):
        told = (await client.request("GET", path)).json()
        question, answered = told.get("results") or told["messages"]
        assert answered["html"] == HTML
        assert "html" not in question
    assert (await client.request("GET", f"/api/messages/{answer}/?html=true")).json() == answered
    assert "html" not in (await client.request("GET", f"/api/messages/{answer}/")).json()


async def test_the_pages_before_have_it_too(client: Client, answer: str) -> None:
    first = (await client.request("GET", "/api/threads/t1/messages/?html=true&limit=1")).json()
    assert first["results"][0]["html"] == HTML
    state = (await client.request("GET", "/api/threads/t1/state/?html=true&limit=1")).json()
    assert "html=true" in first["next"]
    assert "html=true" in state["earlier"]


async def test_a_wrong_flag_and_another_s_message_are_refused(
    client: Client, other_client: Client, answer: str
) -> None:
    refused = await client.request("GET", f"/api/messages/{answer}/?html=yes")
    assert (refused.status, refused.json()["error"]["field"]) == (400, "html")
    missing = await other_client.request("GET", f"/api/messages/{answer}/")
    nowhere = await other_client.request("GET", "/api/messages/999999/")
    assert (missing.status, missing.body) == (nowhere.status, nowhere.body)
    assert missing.status == 404


async def test_a_message_of_several_versions_names_them(client: Client, answer: str) -> None:
    again = {"id": "t1", "messages": [], "trigger": "regenerate-message", "messageId": answer}
    assert (await client.request("POST", "/api/chat", again)).status == 200
    question, answered = (await client.request("GET", "/api/threads/t1/state/?versions=true")).json()["messages"]
    assert answered["versions"] == [answer, answered["id"]]
    assert "versions" not in question
    for path in ("/api/threads/t1/messages/?versions=true&limit=1", f"/api/messages/{answer}/?versions=true"):
        told = (await client.request("GET", path)).json()
        assert told.get("results", [told])[0]["versions"] == answered["versions"]
