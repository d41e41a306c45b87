"""What a person does with messages: read them as they were meant, copy, answer once more, edit, go back."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Route, expect

from chat.testing.servers import Server
from tests.browser.conftest import Window
from tests.browser.screen import Screen
from tests.browser.stored import history, rewrite

MARKDOWN = """\
# Title

```python
print("<b>")
```

| a | b |
|---|---|
| 1 | 2 |

[there](https://example.org) <img src=x onerror=alert(1)>
"""


async def test_an_answer_is_shown_as_it_was_meant_and_its_code_can_be_copied(screen: Screen, server: Server) -> None:
    await screen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    answer = await screen.ask("/tokens 2 0")
    rewrite(server, (await history(screen))[-1]["id"], MARKDOWN)
    await screen.reload()
    await expect(answer.get_by_role("heading", name="Title")).to_be_visible()
    await expect(answer.get_by_role("cell", name="2")).to_be_visible()
    await expect(answer.get_by_role("link", name="there")).to_have_attribute("href", "https://example.org")
    await expect(answer.locator("img")).to_have_count(0)
    await expect(answer).to_contain_text("<img src=x onerror=alert(1)>")
    await answer.get_by_role("button", name="Copy the code").click()
    assert await screen.page.evaluate("navigator.clipboard.readText()") == 'print("<b>")\n'
    await answer.get_by_role("button", name="Copy the answer").click()
    assert await screen.page.evaluate("navigator.clipboard.readText()") == MARKDOWN
    await screen.fits()


async def test_another_answer_takes_the_place_of_the_first_and_both_can_be_gone_to(
    screen: Screen, window: Window
) -> None:
    answer = await screen.ask("/tokens 3 0")
    other = await window(screen.page.url)
    await expect(other.answers).to_have_count(1)
    await answer.get_by_role("button", name="Answer once more").click()
    place = screen.answers.locator(".versions-place")
    for tab in (screen, other):
        await expect(tab.answers.locator(".versions-place")).to_have_text("2 / 2", timeout=15_000)
        await expect(tab.answers).to_have_count(1)
    first, second = [one["id"] for one in (await versions(screen))]
    assert (await history(screen))[-1]["id"] == second
    await screen.page.get_by_role("button", name="Earlier version").click()
    for tab in (screen, other):
        await expect(tab.answers.locator(".versions-place")).to_have_text("1 / 2")
    assert (await history(screen))[-1]["id"] == first
    await screen.reload()
    await expect(place).to_have_text("1 / 2")
    await expect(screen.page.get_by_role("button", name="Earlier version")).to_be_disabled()


async def versions(screen: Screen) -> list[dict[str, Any]]:
    answer = (await history(screen))[-1]["id"]
    found: list[dict[str, Any]] = (await screen.call("GET", f"/api/messages/{answer}/versions/"))["results"]
    return found


async def test_another_answer_is_shown_as_it_grows_and_can_be_stopped(screen: Screen, window: Window) -> None:
    await screen.send("/hang")
    await expect(screen.answers.locator(".text")).to_have_text("Hanging …")
    await screen.stop.click()
    await screen.ended(screen.answers.first)
    await screen.answers.first.get_by_role("button", name="Answer once more").click()
    await expect(screen.stop).to_be_visible()
    other = await window(screen.page.url)
    for tab in (screen, other):
        await expect(tab.stop).to_be_visible()
        await expect(tab.answers).to_have_count(1)
        await expect(tab.answers.first).to_have_attribute("aria-busy", "true")
        await expect(tab.answers.locator(".text")).to_have_text("Hanging …")
    await screen.stop.click()
    for tab in (screen, other):
        await tab.ended(tab.answers.first)
        await expect(tab.answers.locator(".notice-text")).to_have_text("Stopped.")
        await expect(tab.answers.locator(".versions-place")).to_have_text("2 / 2")


async def test_another_answer_stays_though_news_of_its_middle_come_after_its_end(screen: Screen) -> None:
    answer = await screen.ask("/tokens 40 20")
    asked: list[str] = []

    async def hold_the_first(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) > 1:
            return await route.continue_()
        response = await route.fetch()
        await screen.page.wait_for_timeout(4000)
        return await route.fulfill(response=response)

    await screen.page.route("**/state/**", hold_the_first)
    await answer.get_by_role("button", name="Answer once more").click()
    await expect(screen.stop).to_be_visible()
    await screen.ended(screen.answers.first)
    await screen.page.wait_for_timeout(5000)
    await screen.hold_text(" ".join(f"w{number}" for number in range(1, 41)))
    await expect(screen.answers.locator(".versions-place")).to_have_text("2 / 2")


async def test_an_answer_that_is_stopped_or_fails_leaves_the_one_before(screen: Screen, server: Server) -> None:
    answer = await screen.ask("/fail 2")
    first = (await history(screen))[-1]["id"]
    await answer.get_by_role("button", name="Answer once more").click()
    await expect(screen.page.get_by_text("The new answer failed. The one before it is kept.")).to_be_visible()
    await expect(screen.answers).to_have_count(1)
    await expect(screen.answers.first).to_have_attribute("data-message-id", first)
    await screen.reload()
    await expect(screen.answers.first).to_have_attribute("data-message-id", first)
    await screen.page.wait_for_timeout(1000)  # what was missed is told now, and is old
    await expect(screen.page.get_by_role("alert")).to_have_count(0)


async def test_an_edited_message_takes_the_place_of_all_that_followed(screen: Screen) -> None:
    await screen.ask("/tokens 2 0")
    await screen.ask("/tokens 3 0")
    question = screen.questions.first
    await question.hover()
    await question.get_by_role("button", name="Edit your message").click()
    box = screen.page.get_by_role("textbox", name="Your message, edited")
    await expect(box).to_have_value("/tokens 2 0")
    await box.press("Escape")
    await expect(question).to_contain_text("/tokens 2 0")
    await expect(question.get_by_role("button", name="Edit your message")).to_be_focused()
    await screen.page.keyboard.press("Enter")
    await box.fill("/tokens 4 0")
    await box.press("Enter")
    await screen.hold_text("w1 w2 w3 w4")
    await expect(screen.questions).to_have_count(1)
    await expect(screen.questions.first).to_contain_text("/tokens 4 0")
    assert [one["role"] for one in await history(screen)] == ["user", "assistant"]
    await screen.page.get_by_role("button", name="Earlier version").first.click()
    await screen.hold_text("w1 w2", "w1 w2 w3")
    await expect(screen.questions).to_have_count(2)
