"""An answer that waits for a person, on the page: approved, denied, moved on from; in one tab and in two."""

from __future__ import annotations

import pytest
from playwright.async_api import Locator, expect

from tests.browser.cable import Cable
from tests.browser.conftest import Complaints, Window
from tests.browser.screen import Screen


async def waits(screen: Screen, text: str = "/approve") -> Locator:
    before = await screen.answers.count()
    await screen.send(text)
    answer = screen.answers.nth(before)
    await expect(answer.locator(".tool-decision").first).to_be_visible(timeout=30_000)
    await expect(screen.stop).to_be_hidden()
    return answer


@pytest.mark.parametrize(
    ("button", "state", "told"),
    [
        ("Approve", "Done", "Sent to friend1@example.org."),
        ("Deny", "Denied", "Not sent to friend1@example.org: you did not want it."),
    ],
)
async def test_a_person_decides_and_the_answer_goes_on(screen: Screen, button: str, state: str, told: str) -> None:
    answer = await waits(screen)
    await expect(answer.locator(".tool-state")).to_have_text("Waiting for approval")
    await answer.get_by_role("group", name="Your decision").get_by_role("button", name=button).click()
    await screen.ended(answer)
    for _ in range(2):
        await expect(answer.locator(".text")).to_have_text(["May I send this?", told])
        await expect(answer.locator(".tool-state")).to_have_text(state)
        await expect(answer.locator(".tool-decision")).to_be_hidden()
        await screen.reload()


async def test_a_person_changes_what_a_call_is_given_before_it_is_done(screen: Screen) -> None:
    answer = await waits(screen)
    await answer.get_by_role("button", name="Edit input").click()
    box = answer.get_by_role("textbox", name="Input of the call, as JSON")
    await expect(box).to_be_focused()
    await expect(box).to_have_value('{\n  "to": "friend1@example.org",\n  "subject": "Hello"\n}')
    await box.fill('{"to": "ann@exa')
    await answer.get_by_role("button", name="Approve").click()
    await expect(answer.get_by_role("alert")).to_have_text("This is not valid JSON.")
    await expect(box).to_be_focused()
    await box.fill('{"to": "ann@example.org"}')
    await answer.get_by_role("button", name="Approve").click()
    told = "Sent to ann@example.org, as you changed it."
    for _ in range(2):
        await expect(answer.locator(".text")).to_have_text(["May I send this?", told])
        await expect(answer.locator(".tool-input pre")).to_have_text('{ "to": "ann@example.org" }')
        await expect(box).to_be_hidden()
        await screen.reload()


async def test_a_decision_is_asked_for_after_a_reload_and_each_call_has_its_own(screen: Screen) -> None:
    answer = await waits(screen, "/approve 2")
    await answer.get_by_role("button", name="Deny").first.click()
    await expect(answer.locator(".tool-decision:visible")).to_have_count(1)
    await screen.reload()
    await expect(answer.locator(".tool-decision:visible")).to_have_count(1)
    await answer.get_by_role("button", name="Approve").click()
    await screen.ended(answer)
    await expect(answer.locator(".tool-state")).to_have_text(["Denied", "Done"])
    await screen.ask("/tokens 3")


async def test_who_writes_something_else_has_decided_too(screen: Screen) -> None:
    answer = await waits(screen)
    await screen.ask("/tokens 3")
    await expect(answer.locator(".tool-state")).to_have_text("Denied")
    await expect(answer.locator(".tool-decision")).to_be_hidden()
    await expect(answer.locator(".notice-text")).to_have_text("Stopped.")


async def test_another_tab_sees_the_question_and_the_decision(screen: Screen, window: Window) -> None:
    mine = await waits(screen)
    other = await window(screen.page.url)
    theirs = other.answers.last
    await theirs.get_by_role("button", name="Approve").click()
    for one, answer in ((screen, mine), (other, theirs)):
        await one.ended(answer)
        await expect(answer.locator(".text")).to_have_text(["May I send this?", "Sent to friend1@example.org."])


async def test_the_page_runs_a_tool_of_its_own_when_it_may(screen: Screen) -> None:
    answer = await waits(screen, "/where")
    await answer.get_by_role("button", name="Tell it").click()
    await screen.ended(answer)
    zone = await screen.page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone")
    await expect(answer.locator(".text")).to_have_text(f"Your clock runs on {zone} time.")


async def test_without_sockets_a_decision_is_asked_for_and_taken_as_well(
    proxy: Cable, window: Window, screen: Screen, complaints: Complaints
) -> None:
    complaints.expect("WebSocket connection to .* failed")
    await waits(screen)
    other = await window(screen.page.url.replace(screen.url, proxy.url))
    answer = other.answers.last
    await answer.get_by_role("button", name="Approve").click()
    await expect(answer.locator(".tool-state")).to_have_text("Done", timeout=30_000)
