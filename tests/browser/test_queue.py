"""What is sent while an answer is live waits for its end, and shows that it does."""

from __future__ import annotations

from playwright.async_api import expect

from tests.browser.cable import Cable
from tests.browser.conftest import Complaints, Window
from tests.browser.screen import Screen
from tests.browser.test_connection import NETWORK

WAITS = "Waits for the answer before it"


async def test_a_queued_message_waits_for_the_live_answer_and_runs_after_it_in_every_tab(
    screen: Screen, window: Window
) -> None:
    await screen.send("/hang")
    await expect(screen.answers.locator(".text")).to_have_text("Hanging …")
    second = await window(screen.page.url)
    await expect(screen.page.get_by_text("What you send now waits until this answer has ended")).to_be_visible()
    await screen.send("/tokens 3 0")
    await screen.send("/tokens 4 0")
    for tab in (screen, second):
        await expect(tab.waiting.locator(".text")).to_have_text(["/tokens 3 0", "/tokens 4 0"])
        await expect(tab.waiting.first).to_contain_text(WAITS)
    await second.page.reload()
    await expect(second.waiting.locator(".text")).to_have_text(["/tokens 3 0", "/tokens 4 0"])
    await second.stop.click()
    for tab in (screen, second):
        await expect(tab.waiting).to_have_count(0)
        await tab.hold_text("Hanging …", "w1 w2 w3", "w1 w2 w3 w4")
        await expect(tab.questions).to_have_text(["/hang", "/tokens 3 0", "/tokens 4 0"])
        shown = await tab.log.evaluate("log => [...log.children].map(each => each.className.split('-')[1])")
        assert shown == ["user", "assistant"] * 3


async def test_a_queued_message_can_be_cancelled_by_keyboard_and_vanishes_in_every_tab(
    screen: Screen, window: Window
) -> None:
    await screen.send("/hang")
    await expect(screen.answers.locator(".text")).to_have_text("Hanging …")
    await screen.send("never mind")
    second = await window(screen.page.url)
    for tab in (screen, second):
        await expect(tab.waiting).to_contain_text(WAITS)
    cancel = screen.page.get_by_role("button", name="Cancel")
    await cancel.focus()
    await screen.page.keyboard.press("Enter")
    for tab in (screen, second):
        await expect(tab.waiting).to_have_count(0)
    await expect(screen.box).to_be_focused()
    await expect(screen.page.locator("#announcer")).to_have_text("The waiting message was cancelled.")
    await screen.stop.click()
    for tab in (screen, second):
        await tab.ended(tab.answers.first)
        await expect(tab.questions).to_have_text(["/hang"])
        await tab.page.reload()
        await expect(tab.questions).to_have_text(["/hang"])


async def test_of_two_tabs_that_send_at_once_the_second_waits_and_neither_loses_its_message(
    screen: Screen, window: Window
) -> None:
    await screen.ask("/tokens 1 0")
    second = await window(screen.page.url)
    await expect(second.answers).to_have_count(1)
    await screen.box.fill("/tokens 40 10")
    await second.box.fill("/tokens 50 10")
    # No waiting between the two: neither knows of the other's.
    await screen.page.evaluate("document.getElementById('composer').requestSubmit()")
    await second.page.evaluate("document.getElementById('composer').requestSubmit()")
    for tab in (screen, second):
        await expect(tab.answers).to_have_count(3, timeout=20_000)
        await tab.ended(tab.answers.nth(2))
        await expect(tab.waiting).to_have_count(0)
    assert await screen.log.inner_text() == await second.log.inner_text()
    await expect(screen.questions).to_have_count(3)


async def test_several_messages_sent_at_once_to_a_new_thread_run_in_their_order(screen: Screen) -> None:
    for number in (20, 2, 3):
        await screen.box.fill(f"/tokens {number} 5")
        await screen.box.press("Enter")
    await screen.hold_text(" ".join(f"w{each}" for each in range(1, 21)), "w1 w2", "w1 w2 w3")
    await expect(screen.questions).to_have_text(["/tokens 20 5", "/tokens 2 5", "/tokens 3 5"])


async def test_a_message_that_could_not_be_queued_is_kept_below_the_live_answer(
    wired: Screen, cable: Cable, complaints: Complaints
) -> None:
    complaints.expect(NETWORK)
    await wired.send("/tokens 150 20")
    await expect(wired.answers.locator(".text")).to_contain_text("w5 ")
    await cable.cut()
    await wired.send("/tokens 2 0")
    await expect(wired.waiting).to_contain_text("Not sent. The server cannot be reached.")
    await cable.mend()
    await wired.page.get_by_role("button", name="Try again").click()
    await wired.hold_text(" ".join(f"w{each}" for each in range(1, 151)), "w1 w2")


async def test_a_message_that_did_not_get_through_outlives_a_look_elsewhere_and_a_reload(
    wired: Screen, cable: Cable, complaints: Complaints
) -> None:
    complaints.expect(NETWORK)
    await wired.ask("/tokens 1 0")
    await cable.cut()
    await wired.send("as it was written")
    await expect(wired.waiting).to_contain_text("Not sent. The server cannot be reached.")
    await wired.new_thread()
    await wired.page.go_back()
    await expect(wired.box).to_have_value("as it was written")
    await expect(wired.waiting).to_have_count(0)
    await wired.box.press("Enter")
    await expect(wired.waiting).to_contain_text("Not sent. The server cannot be reached.")
    await expect(wired.box).to_have_value("")
    await cable.mend()
    await wired.reload()
    await expect(wired.box).to_have_value("as it was written")
    await expect(wired.waiting).to_have_count(0)


async def test_what_is_typed_outlives_the_session_and_the_login(screen: Screen, complaints: Complaints) -> None:
    complaints.expect("401|403")
    await screen.page.context.clear_cookies()
    await screen.page.goto(screen.url)
    await screen.log_in()  # a session of its own: it is ended here
    await screen.send("/hang")
    await expect(screen.answers.locator(".text")).to_have_text("Hanging …")
    await screen.box.fill("half a thought")
    tab = await screen.page.context.new_page()
    await tab.goto(screen.url)
    await tab.get_by_role("button", name="Log out").click()
    await expect(tab.get_by_label("Password")).to_be_visible()
    alert = screen.page.get_by_role("alert")
    await expect(alert).to_contain_text("Your session has ended.", timeout=15_000)
    await expect(screen.answers.locator(".notice-text")).to_contain_text("The answer goes on without you.")
    await alert.get_by_role("link", name="Log in").click()
    await screen.page.get_by_label("Username").fill("demo")
    await screen.page.get_by_label("Password").fill("demo")
    await screen.page.get_by_role("button", name="Log in").click()
    await expect(screen.box).to_have_value("half a thought")
    await expect(screen.answers.locator(".text")).to_have_text("Hanging …")
    await screen.stop.click()
    await screen.ended(screen.answers.first)
