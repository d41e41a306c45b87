from __future__ import annotations

import uuid
from urllib.parse import urlsplit

from django.contrib.auth.models import User
from django.test import RequestFactory
from playwright.async_api import Page, expect
from pytest_django import Settings

from chat.pages.views import conversation
from chat.testing.servers import Server
from tests.browser.conftest import Complaints
from tests.browser.screen import Screen


async def test_the_page_wants_a_login_and_a_wrong_password_is_told(server: Server, page: Page) -> None:
    thread = f"{server.url}/threads/{uuid.uuid4()}/"
    await page.goto(thread)
    await expect(page).to_have_url(f"{server.url}/login/?next={thread.removeprefix(server.url)}")
    await expect(page.get_by_text("Demo account: demo / demo")).to_be_visible()
    await page.get_by_label("Username").fill("demo")
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_contain_text("Please enter a correct username and password")
    await expect(page.get_by_label("Username")).to_have_value("demo")


async def test_logging_out_leads_to_the_login(server: Server, page: Page) -> None:
    screen = Screen(page, server.url)
    await screen.log_in()
    await screen.page.get_by_role("button", name="Log out").click()
    await expect(screen.page.get_by_label("Password")).to_be_visible()
    await screen.page.goto(f"{screen.url}/")
    await expect(screen.page.get_by_label("Password")).to_be_visible()


async def test_a_product_with_its_own_agent_is_not_offered_the_demos_commands(
    rf: RequestFactory, settings: Settings
) -> None:
    request = rf.get("/")
    request.user = User(username="someone")
    assert b"/tokens 50" in conversation(request).content
    settings.CHAT_AGENT = "product.agents.Agent"
    page = conversation(request).content
    assert b"What is on your mind?" in page
    assert b"/tokens 50" not in page


async def test_nothing_is_allowed_inline_and_nothing_from_elsewhere(screen: Screen) -> None:
    response = await screen.page.goto(f"{screen.url}/")
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "unsafe-" not in policy
    assert "http" not in policy


async def test_threads_are_listed_newest_first_and_older_ones_on_demand(screen: Screen) -> None:
    titles = [f"Listed {number}" for number in range(1, 41)]
    for title in titles:
        await screen.call("POST", "/api/threads/", {"title": title})
    await screen.page.reload()
    shown = screen.page.locator(".thread-title")
    await expect(shown).to_have_count(30)
    assert await shown.all_inner_texts() == titles[:-31:-1]
    await screen.page.get_by_role("button", name="Older threads").click()
    await expect(shown.nth(39)).to_have_text("Listed 1")

    await shown.nth(39).click()
    await expect(screen.page.get_by_role("heading", level=1)).to_have_text("Listed 1")
    await expect(screen.page.locator("[aria-current=page]")).to_contain_text("Listed 1")
    await screen.ask("/tokens 3")
    await expect(shown.first).to_have_text("Listed 1")  # the newest activity
    await expect(shown.get_by_text("Listed 1", exact=True)).to_have_count(1)


async def test_addresses_name_threads_and_back_and_forward_go_between_them(screen: Screen) -> None:
    await screen.ask("/tokens 1")
    first = screen.page.url
    await screen.new_thread()
    await screen.ask("/tokens 2")
    assert screen.page.url != first
    await screen.page.locator(f".thread[href='{urlsplit(first).path}']").click()
    await expect(screen.questions).to_have_text(["/tokens 1"])
    assert screen.page.url == first
    await screen.page.go_back()
    await expect(screen.questions).to_have_text(["/tokens 2"])
    await screen.page.go_forward()
    await expect(screen.questions).to_have_text(["/tokens 1"])
    await expect(screen.page).to_have_title("/tokens 1 · Durable Chat")


async def test_earlier_messages_are_loaded_on_demand_above_the_place_of_the_reader(screen: Screen) -> None:
    thread = (await screen.call("POST", "/api/threads/", {"title": "Long"}))["id"]
    for number in range(60):
        body = {"role": "user", "content": f"message {number}"}
        await screen.call("POST", f"/api/threads/{thread}/messages/", body)
    await screen.page.goto(f"{screen.url}/threads/{thread}/")
    await expect(screen.questions).to_have_count(50)
    await expect(screen.questions.last).to_be_in_viewport()
    tenth = screen.questions.nth(0)
    await tenth.scroll_into_view_if_needed()
    await screen.page.get_by_role("button", name="Earlier messages").click()
    await expect(screen.questions).to_have_count(60)
    await expect(screen.questions.nth(0)).to_have_text("message 0")
    await expect(screen.questions.nth(10)).to_be_in_viewport()
    await expect(screen.page.get_by_role("button", name="Earlier messages")).to_be_hidden()


async def test_a_thread_that_is_not_there_says_so(screen: Screen, complaints: Complaints) -> None:
    complaints.expect("404")
    await screen.page.goto(f"{screen.url}/threads/{uuid.uuid4()}/")
    await expect(screen.page.get_by_role("alert")).to_contain_text("There is no such thread, or it is not yours.")
    await screen.new_thread()
    await expect(screen.page.get_by_role("alert")).to_be_hidden()


async def test_everything_can_be_done_from_the_keyboard(server: Server, page: Page) -> None:
    keyboard = page.keyboard
    await page.goto(f"{server.url}/")
    await expect(page.get_by_label("Username")).to_be_focused()
    await keyboard.type("demo")
    await keyboard.press("Tab")
    await keyboard.type("demo")
    await keyboard.press("Enter")
    screen = Screen(page, server.url)
    await expect(screen.box).to_be_focused()

    await keyboard.type("/hang")
    await keyboard.press("Enter")
    await expect(screen.answers.locator(".text")).to_have_text("Hanging …")
    await keyboard.press("Tab")
    await expect(screen.stop).to_be_focused()
    await keyboard.press("Enter")
    await screen.ended(screen.answers.first)
    await expect(screen.box).to_be_focused()

    await keyboard.type("/think")
    await keyboard.press("Enter")
    await screen.ended(screen.answers.nth(1))
    await keyboard.press("Shift+Tab")  # past the button that attaches files
    for name in (
        "Go on from here in a new thread",
        "Not a good answer",
        "A good answer",
        "Answer once more",
        "Copy the answer",
    ):
        await keyboard.press("Shift+Tab")
        await expect(screen.answers.nth(1).get_by_role("button", name=name, exact=True)).to_be_focused()
    await keyboard.press("Shift+Tab")
    assert await page.evaluate("document.activeElement.tagName") == "SUMMARY"
    await keyboard.press("Enter")
    await expect(page.get_by_text("The user wants to see me think.")).to_be_visible()

    await page.reload()
    await expect(screen.box).to_be_focused()
    await page.get_by_role("link", name="Skip to the message box").focus()
    await keyboard.press("Enter")
    await expect(screen.box).to_be_focused()
    await page.get_by_role("link", name="New thread").nth(0).focus()
    await keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="What is on your mind?")).to_be_visible()
    await expect(screen.box).to_be_focused()


async def test_on_a_phone_the_list_is_a_drawer_that_takes_and_returns_the_focus(screen: Screen) -> None:
    await screen.ask("/tokens 2")
    await screen.page.set_viewport_size({"width": 360, "height": 740})
    opener = screen.page.get_by_role("button", name="Show threads")
    threads = screen.page.get_by_role("navigation", name="Threads")
    await expect(threads).to_be_hidden()
    await opener.click()
    await expect(threads).to_be_visible()
    await expect(screen.page.get_by_role("button", name="Hide threads")).to_be_focused()
    await screen.page.keyboard.press("Escape")
    await expect(threads).to_be_hidden()
    await expect(opener).to_be_focused()
    await opener.click()
    await threads.get_by_role("link", name="New thread").last.click()
    await expect(threads).to_be_hidden()
    await expect(screen.page.get_by_role("heading", name="What is on your mind?")).to_be_visible()
