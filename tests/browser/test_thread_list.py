"""The list of threads: days, search, rename, archive, delete and take it back."""

from __future__ import annotations

import asyncio
import re

import psycopg
from playwright.async_api import Locator, Route, expect

from chat.testing.servers import Server
from chatproject import embedded_postgres
from tests.browser.screen import Screen


async def made(screen: Screen, title: str) -> str:
    """A thread of that title, open in the page."""
    thread: str = (await screen.call("POST", "/api/threads/", {"title": title}))["id"]
    await screen.page.goto(f"{screen.url}/threads/{thread}/")
    await expect(screen.page.get_by_role("heading", level=1)).to_have_text(title)
    return thread


def link(screen: Screen, title: str) -> Locator:
    return screen.page.get_by_role("navigation", name="Threads").get_by_role("link", name=title, exact=True)


async def choose(screen: Screen, title: str, choice: str) -> None:
    await link(screen, title).hover()
    await screen.page.get_by_role("button", name=f"What to do with {title}", exact=True).click()
    await screen.page.get_by_role("menuitem", name=choice).click()


async def test_threads_stand_below_the_day_of_their_last_activity(screen: Screen, server: Server) -> None:
    for title, age in (("Of today", "0"), ("Of yesterday", "1 day"), ("Of last year", "400 days")):
        thread = await made(screen, title)
        with psycopg.connect(embedded_postgres.dsn(server.folder / "data" / "postgres"), autocommit=True) as connection:
            connection.execute(
                "UPDATE chat_threads SET updated_at = updated_at - %s::interval WHERE id = %s",
                [age, thread],
            )
    await screen.page.reload()
    listed = screen.page.locator("#threads")
    await expect(link(screen, "Of today")).to_be_visible()
    older = screen.page.get_by_role("button", name="Older threads")
    yesterdays = link(screen, "Of yesterday")
    while not await yesterdays.count():  # other tests have threads of today as well
        await older.click()
        await expect(yesterdays.or_(older).first).to_be_enabled()
    text = await listed.inner_text()
    assert re.search(r"Today\s+Of today.*Yesterday\s+Of yesterday", text, re.DOTALL)


async def test_a_thread_is_renamed_archived_and_taken_out_again(screen: Screen) -> None:
    await made(screen, "A working title")
    await choose(screen, "A working title", "Rename")
    box = screen.page.get_by_role("textbox", name="Title of the thread")
    await expect(box).to_be_focused()
    await box.fill("The final title")
    await box.press("Enter")
    await expect(screen.page.get_by_role("heading", level=1)).to_have_text("The final title")
    await expect(link(screen, "The final title")).to_be_visible()

    await choose(screen, "The final title", "Archive")
    await expect(link(screen, "The final title")).to_have_count(0)
    await screen.page.get_by_role("button", name="Archived threads").click()
    await choose(screen, "The final title", "Take out of the archive")
    await expect(link(screen, "The final title")).to_have_count(0)
    await screen.page.get_by_role("button", name="Back to all threads").click()
    await expect(link(screen, "The final title")).to_be_visible()


async def test_a_deleted_thread_can_be_taken_back(screen: Screen) -> None:
    thread = await made(screen, "Deleted by mistake")
    await choose(screen, "Deleted by mistake", "Delete")
    await screen.is_empty()  # it was the open one
    await expect(link(screen, "Deleted by mistake")).to_have_count(0)
    await screen.page.get_by_role("button", name="Undo").click()
    await link(screen, "Deleted by mistake").click()
    await expect(screen.page).to_have_url(f"{screen.url}/threads/{thread}/")
    await expect(screen.page.get_by_role("heading", level=1)).to_have_text("Deleted by mistake")


async def test_a_thread_that_was_deleted_elsewhere_is_listed_no_longer(screen: Screen) -> None:
    thread = await made(screen, "Deleted elsewhere")
    await expect(link(screen, "Deleted elsewhere")).to_be_visible()
    headers = {"origin": screen.url, "content-type": "application/json"}
    await screen.page.request.delete(f"{screen.url}/api/threads/{thread}/", headers=headers)
    await screen.new_thread()
    await screen.ask("/tokens 1 0")
    await expect(link(screen, "Deleted elsewhere")).to_have_count(0)


async def test_undo_takes_back_what_was_deleted_whatever_menu_was_open_since(screen: Screen) -> None:
    await made(screen, "Opened since")
    await made(screen, "Deleted before that")
    await choose(screen, "Deleted before that", "Delete")
    undo = screen.page.get_by_role("button", name="Undo")
    await expect(undo).to_be_visible()
    await link(screen, "Opened since").hover()
    await screen.page.get_by_role("button", name="What to do with Opened since", exact=True).click()
    await expect(screen.page.get_by_role("menuitem", name="Rename")).to_be_focused()
    await screen.page.keyboard.press("Escape")
    await undo.click()
    await expect(screen.page.get_by_text("It is back.")).to_be_visible()
    await expect(link(screen, "Deleted before that")).to_be_visible()


async def test_a_new_title_is_for_the_thread_that_the_dialog_was_opened_for(screen: Screen) -> None:
    kept, deleted = await made(screen, "Before the dialog"), await made(screen, "Deleted on a slow line")
    line = asyncio.Event()

    async def slowly(route: Route) -> None:
        await line.wait()
        await route.continue_()

    await screen.page.route(f"**/api/threads/{deleted}/", slowly)
    await choose(screen, "Deleted on a slow line", "Delete")
    await choose(screen, "Before the dialog", "Rename")
    box = screen.page.get_by_role("textbox", name="Title of the thread")
    await box.fill("After the dialog")
    line.set()
    await expect(screen.page.get_by_text("Deleted: Deleted on a slow line")).to_be_attached()
    await box.press("Enter")
    await expect(link(screen, "After the dialog")).to_be_visible()
    assert (await screen.call("GET", f"/api/threads/{kept}/"))["title"] == "After the dialog"


async def test_the_menu_is_worked_by_keyboard(screen: Screen) -> None:
    await made(screen, "By keyboard")
    opener = screen.page.get_by_role("button", name="What to do with By keyboard", exact=True)
    await opener.focus()
    await screen.page.keyboard.press("Enter")
    await expect(screen.page.get_by_role("menuitem", name="Rename")).to_be_focused()
    await screen.page.keyboard.press("ArrowUp")
    await expect(screen.page.get_by_role("menuitem", name="Delete")).to_be_focused()
    await screen.page.keyboard.press("ArrowDown")
    await expect(screen.page.get_by_role("menuitem", name="Rename")).to_be_focused()
    await screen.page.keyboard.press("Escape")
    await expect(screen.page.get_by_role("menu")).to_be_hidden()
    await expect(opener).to_be_focused()


async def test_what_was_said_is_found_again(screen: Screen) -> None:
    await screen.new_thread()
    await screen.ask("Tell me of <b>axolotls</b> & newts")
    thread = screen.page.url
    await screen.new_thread()
    await screen.page.keyboard.press("Control+k")
    await screen.page.keyboard.type("axolo")
    found = screen.page.get_by_role("list", name="What was found")
    await expect(found.locator("mark").first).to_have_text("axolotls")
    await expect(found.locator("b")).to_have_count(0)
    await expect(link(screen, "Archived threads")).to_have_count(0)
    await found.get_by_role("link").first.click()
    await expect(screen.page).to_have_url(thread)
    await expect(screen.page.get_by_label("Search titles and messages")).to_have_value("")
    await screen.page.get_by_label("Search titles and messages").fill("nothing like it")
    await expect(screen.page.get_by_text("Nothing was found.")).to_be_visible()
    await screen.page.keyboard.press("Escape")
    await expect(screen.page.locator("#threads")).to_be_visible()
