"""A Pydantic AI agent with two tools, one of which needs approval, is there by one setting: on the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.acceptance.server import DemoServer
from tests.browser.screen import Screen


@pytest.fixture(scope="module")
def plugged(chromium: str, reachable: Path) -> Iterator[DemoServer]:
    server = DemoServer(reachable / "plugged", CHAT_PYDANTIC_AGENT="tests.agents.robots.Careful")
    server.folder.mkdir()
    try:
        server.start()
        yield server
    finally:
        server.stop()


async def test_it_asks_on_the_page_before_it_sends_a_mail(plugged: DemoServer, page: Page) -> None:
    screen = Screen(page, plugged.url)
    await screen.log_in()
    await screen.send("Write to Ann and Bob, and tell me the time.")
    answer = screen.answers.first
    states = answer.locator(".tool-state")
    await expect(states).to_have_text(["Done", "Waiting for approval", "Waiting for approval"], timeout=30_000)
    await answer.get_by_role("button", name="Approve").first.click()
    await expect(answer.locator(".tool-decision:visible")).to_have_count(1)
    await answer.get_by_role("button", name="Deny").click()
    await screen.ended(answer)
    for _ in range(2):
        await expect(states).to_have_text(["Done", "Done", "Denied"])
        await expect(answer.locator(".text")).to_contain_text("send_mail: sent to ann")
        await expect(answer.locator(".text")).not_to_contain_text("sent to bob")
        await screen.reload()
