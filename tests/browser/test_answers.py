from __future__ import annotations

import re

from playwright.async_api import expect

from tests.browser.screen import Screen


async def test_reasoning_is_shown_folded_and_reads_the_same_after_a_reload(screen: Screen) -> None:
    answer = await screen.ask("/think")
    for _ in range(2):
        await expect(answer.get_by_text("I have thought about it.")).to_be_visible()
        await expect(answer.get_by_text("The user wants to see me think.")).to_be_hidden()
        await answer.get_by_text("Thought", exact=True).click()
        await expect(answer.get_by_text("The user wants to see me think.")).to_be_visible()
        await screen.reload()


async def test_a_tool_call_is_a_card_with_name_state_input_and_output(screen: Screen) -> None:
    answer = await screen.ask("/tool")
    await expect(answer.locator(".text p")).to_have_count(2)  # the server's HTML has come
    shown = await answer.inner_text()
    for _ in range(2):
        card = answer.locator(".tool")
        await expect(card.locator(".tool-name")).to_have_text("clock")
        await expect(card.locator(".tool-state")).to_have_text("Done")
        await expect(card.locator(".tool-input pre")).to_have_text('{ "zone": "UTC" }')
        await expect(card.locator(".tool-output pre")).to_contain_text('"time"')
        await expect(card.locator(".tool-error")).to_be_hidden()
        assert await answer.inner_text() == shown
        await screen.reload()


async def test_an_error_survives_a_reload_with_the_text_before_it(screen: Screen) -> None:
    answer = await screen.ask("/fail 3")
    for _ in range(2):
        await expect(answer.locator(".text")).to_have_text("w1 w2 w3")
        await expect(answer.locator(".notice-text")).to_have_text("The demo agent failed, as you asked.")
        await screen.reload()


async def test_an_empty_answer_is_shown_as_one(screen: Screen) -> None:
    answer = await screen.ask("/tokens 0")
    for _ in range(2):
        await expect(answer.locator(".notice-text")).to_have_text("No answer.")
        await screen.reload()


async def test_stop_keeps_what_was_said_and_it_survives_a_reload(screen: Screen) -> None:
    await screen.send("/hang")
    answer = screen.answers.first
    await expect(answer.locator(".text")).to_have_text("Hanging …")
    await expect(screen.page.get_by_role("button", name="Send")).to_be_hidden()
    await screen.stop.click()
    await screen.ended(answer)
    for _ in range(2):
        await expect(answer.locator(".text")).to_have_text("Hanging …")
        await expect(answer.locator(".notice-text")).to_have_text("Stopped.")
        await screen.reload()
    await screen.ask("/tokens 3")  # the thread is free again


async def test_an_answer_that_broke_off_is_gone_on_with_and_an_empty_one_is_tried_again(screen: Screen) -> None:
    await screen.send("/hang")
    await expect(screen.answers.locator(".text")).to_have_text("Hanging …")
    await screen.stop.click()
    await screen.ended(screen.answers.first)
    await screen.reload()
    await screen.page.get_by_role("button", name="Continue").click()
    await screen.ended(screen.answers.nth(1))
    await expect(screen.questions.nth(1)).to_contain_text("Go on from where you stopped.")
    await expect(screen.page.get_by_role("button", name="Continue")).to_have_count(0)
    await screen.ask("/tokens 0")
    await screen.page.get_by_role("button", name="Try again").click()
    await expect(screen.answers.nth(2).locator(".versions-place")).to_have_text("2 / 2")


async def test_an_answer_says_what_it_took(screen: Screen) -> None:
    answer = await screen.ask("/tokens 5 0")
    for _ in range(2):
        await expect(answer.locator(".usage")).to_have_text(re.compile(r"^demo · 3 tokens in, 5 out · \d+\.\d s$"))
        await screen.reload()


async def test_stop_pressed_before_the_first_word_still_stops(screen: Screen) -> None:
    await screen.send("/hang")
    await screen.stop.click()
    await screen.ended(screen.answers.first)
    await expect(screen.answers.first.locator(".notice-text")).to_contain_text("Stopped")


async def test_a_long_answer_stays_smooth(screen: Screen) -> None:
    await screen.page.evaluate(
        """() => {
            window.longest = 0;
            new PerformanceObserver((list) => {
                for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
            }).observe({type: 'longtask'});
        }"""
    )
    answer = await screen.ask("/tokens 10000 0")
    text = await answer.locator(".text").text_content()
    assert text == "".join(f"w{number} " for number in range(1, 10_001))
    assert await answer.evaluate("answer => answer.querySelectorAll('*').length") < 50
    # Quadratic work would take seconds. A loaded machine may take a while for a single layout of it all.
    assert await screen.page.evaluate("window.longest") < 1000


async def test_the_page_follows_the_answer_only_while_the_reader_is_at_its_end(screen: Screen) -> None:
    from_end = "pane => pane.scrollHeight - pane.scrollTop - pane.clientHeight"
    pane = screen.page.locator("#pane")
    latest = screen.page.get_by_role("button", name="Go to the latest message")
    await screen.ask("/tokens 1500 0")
    assert await pane.evaluate(from_end) < 2

    await screen.send("/tokens 400 10")
    await expect(screen.answers.nth(1).locator(".text")).to_contain_text("w20 ")
    await pane.hover()
    await screen.page.mouse.wheel(0, -300)
    await expect(latest).to_be_visible()
    place = await pane.evaluate("pane => pane.scrollTop")
    await expect(screen.answers.nth(1).locator(".text")).to_contain_text("w150 ")
    assert await pane.evaluate("pane => pane.scrollTop") == place

    await latest.click()
    await expect(latest).to_be_hidden()
    await screen.ended(screen.answers.nth(1))
    assert await pane.evaluate(from_end) < 2
