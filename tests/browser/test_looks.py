"""Every main state of the page, wide and on a phone, light and dark."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, Page, expect

from chat.testing.servers import Server
from tests.browser.conftest import Complaints
from tests.browser.gallery import Gallery
from tests.browser.screen import Screen
from tests.browser.stored import history, rewrite
from tests.browser.test_files import NOTES, PICTURE
from tests.scale import LONG

Scheme = Literal["light", "dark"]
# Each width and each set of colours once; the long form takes a picture of all four.
LOOKS = [(1280, "light"), (360, "dark"), *([(1280, "dark"), (360, "light")] if LONG else [])]
EXPLAINED = """\
## How the log is read

A reader starts **anywhere** and gets every chunk once:

1. the state of the thread, with the cursor of the live turn;
2. the chunks behind that cursor, as they are committed.

```python
async for cursor, chunk in follow(turn, after=cursor):  # a line that is wider than a phone
    shown.append(chunk)
```

| durability | shown | lost in a crash |
|---|---|---|
| `sync` | when it is committed | nothing |
| `async` | at once | the last 20 ms |

> Nothing is shown before the commit that holds it. See [the docs](https://example.org/streams).
"""


@asynccontextmanager
async def seen(
    browser: Browser, complaints: Complaints, scheme: Scheme, width: int, cookies: Any = ()
) -> AsyncIterator[tuple[Page, Gallery]]:
    """A page as a person at a desk, or with a phone, sees it."""
    phone = width < 768
    context = await browser.new_context(
        viewport={"width": width, "height": 740 if phone else 800},
        color_scheme=scheme,
        reduced_motion="reduce",
        has_touch=phone,
        is_mobile=phone,
    )
    await context.add_cookies(list(cookies))
    page = await context.new_page()
    complaints.listen(page)
    yield page, Gallery(page, f"{width}-{scheme}", fingers=phone)
    await context.close()


@pytest.mark.proof
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
async def test_nothing_that_is_said_is_out_of_reach_for_anybody(
    server: Server, browser: Browser, complaints: Complaints, width: int, scheme: Scheme
) -> None:
    async with seen(browser, complaints, scheme, width) as (page, gallery):
        await page.goto(f"{server.url}/login/")
        await gallery.look("login")
        screen = Screen(page, server.url)
        await screen.log_in()
        await gallery.look("empty")

        await screen.ask("How is the log read?")
        rewrite(server, (await history(screen))[-1]["id"], EXPLAINED)
        thinking = await screen.ask("/think")
        await thinking.locator("summary").click()
        await screen.ask("/tool")
        await gallery.look("tools")
        await screen.reload()
        await screen.answers.first.scroll_into_view_if_needed()
        await page.locator("#pane").evaluate("pane => pane.scrollTop = 0")
        await gallery.look("conversation")

        await screen.ask("A long word: " + "w" * 300)
        await gallery.look("long-word")
        await screen.send("/approve 2")
        await screen.answers.last.get_by_role("button", name="Deny").first.click()
        await expect(screen.answers.last.locator(".tool-decision:visible")).to_have_count(1)
        await gallery.look("waiting")
        await screen.answers.last.get_by_role("button", name="Edit input").click()
        await page.keyboard.type("{")
        await screen.answers.last.get_by_role("button", name="Approve").click()
        await expect(screen.answers.last.get_by_role("alert")).to_be_visible()
        await gallery.look("changing-input")

        await page.goto(f"{server.url}/")
        await screen.is_empty()
        await screen.ask("/fail 5")
        await screen.reload()
        await gallery.look("error")

        await screen.send("/hang")
        await expect(screen.answers.nth(1).locator(".text")).to_have_text("Hanging …")
        await gallery.look("live")
        await screen.send("/tokens 40")
        await expect(screen.waiting).to_contain_text("Waits")
        await screen.box.fill("And a third one, which is only typed so far")
        await gallery.look("queued")
        await screen.waiting.get_by_role("button", name="Cancel").click()
        await expect(screen.waiting).to_have_count(0)
        await screen.box.fill("")
        await screen.stop.click()
        await screen.ended(screen.answers.nth(1))
        await gallery.look("stopped")


@pytest.mark.proof
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
async def test_nothing_that_is_done_is_out_of_reach_for_anybody(
    server: Server, browser: Browser, complaints: Complaints, cookies: Any, width: int, scheme: Scheme
) -> None:
    complaints.expect("404")
    async with seen(browser, complaints, scheme, width, cookies) as (page, gallery):
        screen = Screen(page, server.url)
        await page.goto(f"{server.url}/")
        await screen.is_empty()
        await page.locator("#files").set_input_files([NOTES, PICTURE])
        await expect(page.locator("[data-uploading]")).to_have_count(0)
        await screen.box.fill("Compare these")
        await gallery.look("files")
        answer = await screen.ask("Compare these axolotls")
        await gallery.look("sent-files")
        await answer.get_by_role("button", name="Not a good answer").click()
        await gallery.look("feedback")
        await page.get_by_role("dialog").get_by_role("button", name="Send").click()
        await screen.questions.first.get_by_role("button", name="Edit your message").click()
        await gallery.look("editing")
        await page.keyboard.press("Escape")
        await answer.get_by_role("button", name="Answer once more").click()
        await expect(answer.locator(".versions-place")).to_have_text("2 / 2")
        await gallery.look("versions")

        await page.get_by_role("button", name="Share this thread").click()
        await page.get_by_role("button", name="Create link").click()
        await expect(page.get_by_role("button", name="Revoke")).to_be_visible()
        await gallery.look("share")
        link = await page.get_by_label("The new link").input_value()
        await page.keyboard.press("Escape")

        await drawer(page)
        await gallery.look("threads")
        row = page.locator(".thread-row", has_text="Compare these axolotls").first
        await row.hover()
        await row.get_by_role("button").click()
        await gallery.look("menu")
        await page.get_by_role("menuitem", name="Rename").click()
        await gallery.look("rename")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await page.get_by_label("Search titles and messages").fill("axolotls")
        await expect(page.locator("#hits mark:visible").first).to_be_visible()
        await gallery.look("search")
        await page.get_by_label("Search titles and messages").press("Escape")
        await row.hover()
        await row.get_by_role("button").click()
        await page.get_by_role("menuitem", name="Delete").click()
        await expect(page.get_by_role("button", name="Undo")).to_be_visible()
        await gallery.look("deleted")
        await page.get_by_role("button", name="Undo").click()
        await expect(page.get_by_text("It is back.")).to_be_visible()
        await drawer(page)
        await page.get_by_role("button", name="Archived threads").click()
        await gallery.look("archived")

        await page.goto(link)
        await gallery.look("shared")
        await page.goto(f"{link[:-2]}/")
        await gallery.look("shared-nothing")


async def drawer(page: Page) -> None:
    opener = page.get_by_role("button", name="Show threads")
    if await opener.is_visible():
        await opener.click()
        await expect(page.get_by_role("button", name="Hide threads")).to_be_focused()
