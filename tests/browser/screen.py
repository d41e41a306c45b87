"""The page as a person uses it."""

from __future__ import annotations

import re
from typing import Any

from playwright.async_api import Locator, Page, expect

NUMBER = re.compile(r"^\d+$")


class Screen:
    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.box = page.get_by_role("textbox", name="Message")
        self.log = page.locator("#log")
        self.questions = page.locator(".message-user")
        self.answers = page.locator(".message-assistant")
        self.waiting = page.locator("#outbox .message-user")
        self.stop = page.get_by_role("button", name="Stop answering")

    async def log_in(self) -> None:
        await self.page.goto(f"{self.url}/")
        await self.page.get_by_label("Username").fill("demo")
        await self.page.get_by_label("Password").fill("demo")
        await self.page.get_by_role("button", name="Log in").click()
        await self.is_empty()

    async def send(self, text: str) -> None:
        await self.box.fill(text)
        await self.box.press("Enter")

    async def ask(self, text: str) -> Locator:
        """Sends, waits for the end of the answer, and gives it."""
        before = await self.answers.count()
        await self.send(text)
        answer = self.answers.nth(before)
        await self.ended(answer)
        return answer

    async def ended(self, answer: Locator) -> None:
        await expect(answer).to_be_visible()
        await expect(answer).not_to_have_attribute("aria-busy", "true", timeout=30_000)
        await expect(self.stop).to_be_hidden()

    async def hold_text(self, *texts: str) -> None:
        """These are the answers, each of their words once."""
        await expect(self.answers.locator(".text")).to_have_text(list(texts), timeout=30_000)

    async def watch_lengths(self) -> None:
        """Note from now on how long the last answer is whenever the page changes; ``lengths`` gives how many."""
        await self.page.evaluate(
            """() => {
                window.lengths = new Set();
                new MutationObserver(() => {
                    const texts = document.querySelectorAll('.message-assistant .text');
                    window.lengths.add([...texts].at(-1)?.textContent.length ?? 0);
                }).observe(document.getElementById('log'), {subtree: true, childList: true, characterData: true});
            }"""
        )

    async def lengths(self) -> int:
        number: int = await self.page.evaluate("window.lengths.size")
        return number

    async def reload(self) -> None:
        await self.page.reload()
        await expect(self.questions.first).to_be_visible()

    async def new_thread(self) -> None:
        await self.page.get_by_role("link", name="New thread").first.click()
        await self.is_empty()

    async def is_empty(self) -> None:
        """A new thread, and the script is there: it shows the greeting."""
        await expect(self.page.get_by_role("heading", name="What is on your mind?")).to_be_visible()

    async def fits(self) -> None:
        """Nothing is wider than the window."""
        over = await self.page.evaluate(
            "[document.documentElement, ...document.querySelectorAll('.pane, .sidebar')]"
            ".map(e => e.scrollWidth - e.clientWidth)"
        )
        assert not any(over), over

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Asks the API as this person."""
        response = await self.page.request.fetch(
            f"{self.url}{path}",
            method=method,
            data=body,
            headers={"content-type": "application/json", "origin": self.url},
        )
        assert response.ok, await response.text()
        return await response.json()
