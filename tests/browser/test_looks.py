"""Every main state of the page, wide and narrow, light and dark: nothing overflows, and a picture of each is
left in ``screenshots/`` for people to look at."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.async_api import Page, expect

from tests.acceptance.server import ROOT, Server
from tests.browser.screen import Screen


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (360, 740)])
async def test_no_state_is_wider_than_the_window(
    server: Server, page: Page, width: int, height: int, scheme: Literal["light", "dark"]
) -> None:
    await page.set_viewport_size({"width": width, "height": height})
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    screen = Screen(page, server.url)

    async def look(state: str) -> None:
        await screen.fits()
        # The caret is left alone: hiding it takes a style that the page's policy refuses.
        path = ROOT / "screenshots" / f"{state}-{width}-{scheme}.png"
        await screen.page.screenshot(path=path, caret="initial")

    await page.goto(f"{server.url}/login/")
    await look("login")
    await screen.log_in()
    await look("empty")

    thinking = await screen.ask("/think")
    await thinking.locator("summary").click()
    await screen.ask("/tool")
    await look("conversation")

    await screen.ask("A long word: " + "w" * 300)
    await look("long-word")

    await screen.send("/approve 2")
    await screen.answers.last.get_by_role("button", name="Deny").first.click()
    await expect(screen.answers.last.locator(".tool-decision:visible")).to_have_count(1)
    await look("waiting")

    await page.goto(f"{server.url}/")
    await screen.is_empty()
    await screen.ask("/fail 5")
    await screen.reload()
    await look("error")

    await screen.send("/hang")
    await expect(screen.answers.nth(1).locator(".text")).to_have_text("Hanging …")
    await look("live")
    await screen.send("/tokens 40")
    await expect(screen.waiting).to_contain_text("Waits")
    await screen.box.fill("And a third one, which is only typed so far")
    await look("queued")

    tab = await page.context.new_page()
    await tab.set_viewport_size({"width": width, "height": height})
    await tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    await tab.goto(page.url)
    screen = Screen(tab, server.url)
    await expect(screen.waiting).to_contain_text("Waits")
    await expect(screen.answers.nth(1).locator(".text")).to_have_text("Hanging …")
    await look("second-tab")
    await tab.close()

    screen = Screen(page, server.url)
    await screen.waiting.get_by_role("button", name="Cancel").click()
    await expect(screen.waiting).to_have_count(0)
    await screen.box.fill("")
    await screen.stop.click()
    await screen.ended(screen.answers.nth(1))
    await look("stopped")

    if width < 768:
        await page.get_by_role("button", name="Show threads").click()
        await expect(page.get_by_role("button", name="Hide threads")).to_be_focused()
        await look("drawer")
