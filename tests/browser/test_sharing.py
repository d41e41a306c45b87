"""A thread given to others, and taken further: links, and forks."""

from __future__ import annotations

import re

from playwright.async_api import Browser, expect

from chat.testing.servers import Server
from tests.browser.conftest import Complaints
from tests.browser.screen import Screen
from tests.browser.stored import history, rewrite


async def test_a_link_shows_a_thread_to_anybody_without_a_script_until_it_is_revoked(
    screen: Screen, server: Server, browser: Browser, complaints: Complaints
) -> None:
    page = screen.page
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await expect(page.get_by_role("button", name="Share this thread")).to_be_hidden()
    await screen.ask("/think")
    rewrite(server, (await history(screen))[-1]["id"], "# Found\n\n| a |\n|---|\n| **1** |")
    await page.get_by_role("button", name="Share this thread").click()
    dialog = page.get_by_role("dialog", name="Share this thread")
    await expect(dialog).to_contain_text("None yet.")
    await dialog.get_by_label("The link works for").select_option("a week")
    await dialog.get_by_role("button", name="Create link").click()
    await expect(dialog.get_by_label("The new link")).to_be_focused()
    await dialog.get_by_role("button", name="Copy").click()
    await expect(dialog.get_by_role("status")).to_have_text("Copied.")
    link = await page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(re.escape(server.url) + r"/shared/[\w-]{43}/", link)

    context = await browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 740})
    stranger = await context.new_page()
    complaints.listen(stranger)
    response = await stranger.goto(link)
    assert response is not None
    assert response.headers["referrer-policy"] == "no-referrer"
    await expect(stranger.get_by_role("heading", level=1, name="/think")).to_be_visible()
    await expect(stranger.get_by_role("article", name="Question")).to_have_text("/think")
    await expect(stranger.get_by_role("article", name="Answer").get_by_role("cell", name="1")).to_be_visible()

    await dialog.get_by_role("button", name="Revoke").click()
    await expect(dialog).to_contain_text("None yet.")
    await expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Share this thread")).to_be_focused()
    complaints.expect("404")
    await stranger.reload()
    await expect(stranger.get_by_role("heading", level=1)).to_have_text("This link shows nothing")
    await context.close()


async def test_what_was_said_goes_on_in_a_thread_of_its_own(screen: Screen) -> None:
    await screen.ask("/tokens 2 0")
    await screen.ask("/tokens 3 0")
    first = screen.page.url
    await screen.answers.first.hover()
    await screen.answers.first.get_by_role("button", name="Go on from here in a new thread").click()
    await expect(screen.answers).to_have_count(1)
    await expect(screen.page).not_to_have_url(first)
    await expect(screen.box).to_be_focused()
    await screen.ask("/tokens 4 0")
    await screen.reload()
    await screen.hold_text("w1 w2", "w1 w2 w3 w4")
    await screen.page.goto(first)
    await screen.hold_text("w1 w2", "w1 w2 w3")


async def test_an_opinion_of_an_answer_is_kept_changed_and_taken_back(screen: Screen) -> None:
    answer = await screen.ask("/tokens 2 0")
    up = answer.get_by_role("button", name="A good answer", exact=True)
    down = answer.get_by_role("button", name="Not a good answer")
    await up.click()
    await expect(up).to_have_attribute("aria-pressed", "true")
    await down.click()
    box = screen.page.get_by_role("textbox", name="What was not good about this answer?")
    await expect(box).to_be_focused()
    await box.fill("It counts too slowly.")
    await screen.page.get_by_role("dialog").get_by_role("button", name="Send").click()
    await expect(screen.page.get_by_text("Thank you.")).to_be_attached()
    await screen.reload()
    await expect(down).to_have_attribute("aria-pressed", "true")
    await expect(up).to_have_attribute("aria-pressed", "false")
    thread = screen.page.url.rstrip("/").rpartition("/")[2]
    (given,) = (await screen.call("GET", f"/api/threads/{thread}/feedback/"))["results"]
    assert (given["rating"], given["comment"]) == ("down", "It counts too slowly.")

    await down.click()
    await expect(box).to_have_value("It counts too slowly.")
    await screen.page.get_by_role("button", name="Take back").click()
    await expect(down).to_have_attribute("aria-pressed", "false")
    await expect(down).to_be_focused()
    await screen.reload()
    await expect(down).to_have_attribute("aria-pressed", "false")
