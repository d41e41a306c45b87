"""examples/react, built and driven as a person would: useChat() as it is, and assistant-ui, on the real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from chat.testing.client import said
from chat.testing.servers import Server, free_port
from tests.acceptance.server import ROOT
from tests.browser.conftest import Complaints
from tests.browser.site import EXAMPLE, installed, npm, until_up
from tests.conftest import needed

FRONT_ENDS = ("plain", "assistant-ui")
ANSWERED = 20_000  # milliseconds

pytestmark = pytest.mark.timeout(300)  # the first one installs and builds


@pytest.fixture(scope="session")
def site(server: Server) -> Iterator[str]:
    """The address of the built example, with the server behind it."""
    installed(EXAMPLE)
    npm(EXAMPLE, "run", "build")
    with previewed(server.url) as address:
        yield address


@contextmanager
def previewed(django: str) -> Iterator[str]:
    port = free_port()
    vite = str(EXAMPLE / "node_modules" / "vite" / "bin" / "vite.js")
    preview = subprocess.Popen(
        [
            needed("node", "the React examples are served with it"),
            vite,
            "preview",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--strictPort",
        ],
        cwd=EXAMPLE,
        env={**os.environ, "DJANGO_URL": django},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield until_up(f"http://127.0.0.1:{port}", preview)
    finally:
        preview.terminate()
        preview.wait(10)


@dataclass
class Example:
    """One of the two front ends in a page."""

    page: Page
    site: str
    front_end: str

    async def open(self) -> None:
        """A new thread; its name is in the address from the start."""
        await self.page.goto(f"{self.site}/#{self.front_end}/")
        await expect(self.page.get_by_label("Message", exact=True)).to_be_visible()

    @property
    def thread(self) -> str:
        return self.page.url.rpartition("/")[2]

    async def send(self, text: str) -> None:
        box = self.page.get_by_label("Message", exact=True)
        await box.fill(text)
        await box.press("Enter")

    def messages(self, role: str) -> Locator:
        return self.page.locator(f"[data-role={role}]")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def answers(self, text: str) -> None:
        """The last answer holds this text, and is complete."""
        await expect(self.messages("assistant").last).to_contain_text(text, timeout=ANSWERED)
        await expect(self.button("Stop")).to_have_count(0, timeout=ANSWERED)


@pytest_asyncio.fixture(loop_scope="session", params=FRONT_ENDS)
async def example(request: Any, site: str, page: Page, cookies: list[Any]) -> Example:
    await page.context.add_cookies([{**cookie, "url": site} for cookie in map(_portable, cookies)])
    return Example(page, site, request.param)


def _portable(cookie: dict[str, Any]) -> dict[str, Any]:
    return {name: cookie[name] for name in ("name", "value", "httpOnly", "sameSite")}


def stored(server: Server, cookies: list[Any], thread: str) -> list[dict[str, Any]]:
    with httpx.Client(cookies={cookie["name"]: cookie["value"] for cookie in cookies}) as client:
        told = client.get(f"{server.url}/api/threads/{thread}/messages/").json()
    found: list[dict[str, Any]] = told["results"]
    return found


def text_of(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


def words(count: int) -> str:
    return " ".join(f"w{number}" for number in range(1, count + 1))


async def test_the_question_stays_where_one_looks_at_it_elsewhere_in_mid_answer(example: Example) -> None:
    await example.open()
    await example.send("/tokens 60 50")
    await expect(example.messages("assistant")).to_contain_text("w5")
    await example.page.get_by_role("navigation", name="Front end").locator('a:not([aria-current="page"])').click()
    await expect(example.messages("user")).to_contain_text("/tokens 60 50")
    await example.answers(words(60))
    await expect(example.messages("user")).to_have_count(1)


async def test_an_answer_survives_a_reload_in_its_middle(example: Example, server: Server, cookies: list[Any]) -> None:
    await example.open()
    await example.send("/tokens 60 50")
    await expect(example.messages("assistant")).to_contain_text("w5")
    await example.page.reload()
    await example.answers("w60")
    await expect(example.messages("assistant")).to_have_count(1)
    assert (await example.messages("assistant").inner_text()).startswith(words(60))
    await expect(example.page.get_by_role("link", name="/tokens 60 50").first).to_be_visible()
    user, answer = stored(server, cookies, example.thread)
    assert (text_of(user), text_of(answer).strip()) == ("/tokens 60 50", words(60))


async def test_stop_ends_the_turn_on_the_server(example: Example, server: Server, cookies: list[Any]) -> None:
    await example.open()
    await example.send("/hang")
    await expect(example.messages("assistant")).to_contain_text("Hanging")
    await example.button("Stop").click()
    await expect(example.button("Stop")).to_have_count(0, timeout=ANSWERED)
    assert text_of(stored(server, cookies, example.thread)[-1]) == "Hanging … "
    await example.send("/tokens 3 0")
    await example.answers("w3")


async def test_regenerate_and_edit_take_the_place_of_what_was_there(
    example: Example, server: Server, cookies: list[Any]
) -> None:
    await example.open()
    await example.send("/tokens 2 0")
    await example.answers("w2")
    first = stored(server, cookies, example.thread)[-1]["id"]
    await example.messages("assistant").hover()
    await example.button("Regenerate").click()
    await expect(example.messages("assistant")).to_have_count(1)
    await example.answers("w2")
    second = stored(server, cookies, example.thread)
    assert len(second) == 2
    assert second[-1]["id"] != first

    await example.messages("user").hover()
    await example.button("Edit").click()
    box = example.page.get_by_label("Edit the message")
    await box.fill("/tokens 4 0")
    await box.press("Enter")
    await example.answers("w4")
    await expect(example.messages("user")).to_have_count(1)
    user, answer = stored(server, cookies, example.thread)
    assert (text_of(user), text_of(answer)) == ("/tokens 4 0", "w1 w2 w3 w4 ")


async def test_an_edit_keeps_the_files(site: str, server: Server, page: Page, cookies: list[Any]) -> None:
    with server.client(server.token()) as asker:
        uploaded = asker.post("/api/attachments/", files={"file": ("notes.txt", b"Notes")}).json()["part"]
        message = {"role": "user", "parts": [uploaded, {"type": "text", "text": "/tokens 2 0"}]}
        asker.post("/api/chat", json={"id": "with-a-file", "messages": [message]}).raise_for_status()
    await page.context.add_cookies([{**cookie, "url": site} for cookie in map(_portable, cookies)])
    example = Example(page, site, "plain")
    await page.goto(f"{site}/#plain/with-a-file")
    await example.button("Edit").click()
    box = page.get_by_label("Edit the message")
    await box.fill("/tokens 4 0")
    await box.press("Enter")
    await example.answers("w4")
    user, _ = stored(server, cookies, "with-a-file")
    assert [part["type"] for part in user["parts"]] == ["file", "text"]
    assert (user["parts"][0]["url"], text_of(user)) == (uploaded["url"], "/tokens 4 0")


async def test_a_token_lets_in_who_has_no_session(
    site: str, server: Server, browser: Browser, complaints: Complaints
) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    complaints.listen(page)
    complaints.expect("401")
    await page.goto(site)
    await page.get_by_label("Bearer token").fill(server.token())
    await page.get_by_role("button", name="Use the token").click()
    example = Example(page, site, "plain")
    await example.send("/tokens 3 0")
    await example.answers("w3")
    await context.close()


MATES = """
from django.contrib.auth.models import Group, User
from chat.store.tokens import create_token
group, mate = Group.objects.create(name="Sales"), User.objects.create_user("mate")
group.user_set.add(mate, User.objects.get(username="demo"))
print(create_token("mate"))
"""


@pytest.fixture
def shared(server: Server, tmp_path: Path) -> Iterator[tuple[str, httpx.Client]]:
    """The address of another server on the same database, with the policy of docs/access.md, and how a mate asks it."""
    (policy,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "access.md").read_text(), re.DOTALL)
    (tmp_path / "teams.py").write_text(policy)
    beside = type(server)(server.folder, CHAT_ACCESS_POLICY="teams.Teams", PYTHONPATH=tmp_path)
    try:
        beside.start()
        made = (sys.executable, "manage.py", "shell", "-v", "0", "-c", MATES)
        token = subprocess.run(made, cwd=ROOT, env=beside.environment, stdout=subprocess.PIPE, check=True).stdout
        with beside.client(token.decode().strip()) as mate:
            yield beside.url, mate
    finally:
        beside.stop()


async def test_a_team_mate_s_thread_is_found_among_the_older_ones_and_gone_on_with(
    site: str, shared: tuple[str, httpx.Client], page: Page, cookies: list[Any], complaints: Complaints
) -> None:
    address, mate = shared
    complaints.expect("403|dialog: Delete")
    with previewed(address) as team_site:
        plan = {"id": "of-the-mate", "title": "The plan", "metadata": {"team": "write"}}
        assert mate.post("/api/threads/", json=plan).status_code == 201
        assert mate.post("/api/chat", json=said("of-the-mate", "/tokens 2 0")).status_code == 200
        for number in range(50):
            mate.post("/api/threads/", json={"title": f"Later {number}"}).raise_for_status()
        await page.context.add_cookies([{**cookie, "url": team_site} for cookie in map(_portable, cookies)])
        example = Example(page, team_site, "plain")
        await example.open()
        await example.button("Older threads").click()
        await page.get_by_role("link", name="The plan", exact=True).click()
        await example.answers("w1 w2")
        await example.send("/tokens 3 0")
        await example.answers("w3")
        assert len(mate.get("/api/threads/of-the-mate/messages/").json()["results"]) == 4
        page.once("dialog", lambda dialog: dialog.accept())
        await example.button("Delete The plan").click()
        await expect(page.get_by_role("alert")).to_contain_text("may")
        await page.goto("about:blank")  # else it asks a site that is gone


async def test_a_tool_waits_for_the_person_s_decision(example: Example, server: Server, cookies: list[Any]) -> None:
    await example.open()
    for decision, state in (("Approve", "output-available"), ("Deny", "output-denied")):
        await example.send("/approve")
        await example.button(decision).click()
        await expect(example.button("Approve")).to_have_count(0)
        await example.answers("sent")
        answer = stored(server, cookies, example.thread)[-1]
        assert [part["state"] for part in answer["parts"] if part["type"].startswith(("tool-", "dynamic-"))] == [state]
        shown = await example.messages("assistant").last.inner_text()
        assert text_of(answer).split()[-1] in shown
    assert len(stored(server, cookies, example.thread)) == 4
