"""Visits of AI SDK clients to a real server: what scenarios are made of.

A scenario is a test that is given a ``visit``, which is one of each version; whatever the SDK's chat can do,
``Page.call`` calls.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from chat.management.commands.serve import DEMO
from chat.testing.invariants import assert_database_is_sound
from chat.testing.servers import Server, running
from tests.acceptance.database import Database, Postgres
from tests.acceptance.preloaded import Nursery, Preloaded
from tests.clients.driver import VERSIONS, Browser, Page, browser
from tests.clients.oracle import expected


@dataclass(frozen=True)
class Place:
    """A server, somebody who is logged in there in a browser, and the API beside it."""

    browser: Browser
    api: httpx.Client
    database: Database


@dataclass(frozen=True)
class Visit:
    """A thread of its own, visited with one version of the SDK."""

    place: Place
    version: str
    thread: str

    def page(self, **keys: Any) -> Page:
        return self.place.browser.page(self.version, self.thread, **keys)

    def page_again(self, **keys: Any) -> Page:
        """A fresh client, as an application makes it on load: with the history there is, which leaves out what is
        being written.
        """
        shown = [
            {key: message[key] for key in ("id", "role", "parts", "metadata")} for message in self.state()["messages"]
        ]
        return self.page(messages=shown, **keys)

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.place.api.get(f"/api/threads/{self.thread}/state/").raise_for_status().json()
        return found

    def stored(self) -> list[dict[str, Any]]:
        answer = self.place.api.get(f"/api/threads/{self.thread}/messages/").raise_for_status()
        results: list[dict[str, Any]] = answer.json()["results"]
        return results

    def stop(self) -> None:
        """What an application's stop button asks for: the SDK itself has no word for it."""
        self.place.api.post(f"/api/chat/{self.thread}/stop").raise_for_status()

    def turns(self) -> list[str]:
        """How the turns of the thread stand, in order."""
        query = """
            SELECT t.status FROM chat_turns t JOIN chat_threads h ON h.id = t.thread_id
             WHERE h.client_id = %s ORDER BY t.id"""
        return [status for (status,) in self.place.database.ask(query, self.thread)]

    def assert_same(self, page: Page, *, cut_off: tuple[int, ...] = ()) -> None:
        """What the client holds is what is stored; of the messages at ``cut_off``, which it left in the middle, a
        beginning.
        """
        stored = self.stored()
        assert len(page.messages) == len(stored), page.messages
        for place, (held, kept) in enumerate(zip(page.messages, stored, strict=True)):
            assert held["role"] == kept["role"]
            assert held["id"] in (kept["id"], kept["client_id"])
            if place in cut_off:
                assert words(kept).startswith(words(held))
                continue
            assert expected(held["parts"], self._oracle) == expected(kept["parts"], self._oracle), kept
            if held["role"] == "assistant":
                assert held["id"] == kept["id"]
                assert held["metadata"] == kept["metadata"]

    def assert_same_when_fresh(self) -> None:
        """A client that is opened now has the same, and nothing to resume."""
        page = self.page_again()
        page.done("resumeStream")
        assert (page.status, page.requests) == ("ready", [("GET", 204)])
        self.assert_same(page)

    @property
    def _oracle(self) -> str:
        return "ai-5" if self.version == "ai-5-newest" else self.version


def words(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


@pytest.fixture(scope="module")
def place(postgres: Postgres, nursery: Nursery) -> Iterator[Place]:
    database = postgres.database()
    with served(
        Preloaded(nursery, database.url, CHAT_AGENT="tests.acceptance.scripted_agent.agent"), database
    ) as place:
        yield place


@contextmanager
def served(server: Server, database: Database) -> Iterator[Place]:
    with (
        running(server),
        browser(server.url, session_of(server.url)) as mine,
        server.client(database.token) as api,
    ):
        yield Place(mine, api, database)
        assert_database_is_sound(database.ask)


def session_of(url: str) -> str:
    """The cookies of a browser in which the demo account has logged in."""
    with httpx.Client(base_url=url, verify=False) as person:
        person.get("/login/").raise_for_status()
        form = {"username": DEMO, "password": DEMO, "csrfmiddlewaretoken": person.cookies["csrftoken"]}
        assert person.post("/login/", data=form).status_code == 302
        return "; ".join(f"{name}={value}" for name, value in person.cookies.items())


@pytest.fixture(params=VERSIONS)
def visit(request: pytest.FixtureRequest, place: Place) -> Visit:
    return Visit(place, request.param, uuid.uuid4().hex[:16])
