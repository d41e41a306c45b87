from __future__ import annotations

import re

from playwright.async_api import Route, expect

from tests.browser.cable import Cable
from tests.browser.conftest import Complaints
from tests.browser.screen import Screen

LONG = "/tokens 200 15"
ALL_OF_IT = " ".join(f"w{number}" for number in range(1, 201))
NETWORK = r"net::ERR_|Failed to load resource|WebSocket connection to"


async def test_a_reload_in_mid_answer_goes_on_streaming(screen: Screen) -> None:
    await screen.send(LONG)
    await expect(screen.answers.locator(".text")).to_contain_text("w10 ")
    await screen.reload()
    await expect(screen.stop).to_be_visible()
    await expect(screen.answers.locator(".text")).to_contain_text("w20 ")
    await screen.ended(screen.answers.first)
    await expect(screen.answers.locator(".text")).to_have_text([ALL_OF_IT])
    await expect(screen.questions).to_have_text([LONG])


async def test_an_answer_can_be_stopped_after_a_reload(screen: Screen) -> None:
    await screen.send("/hang")
    await expect(screen.answers.locator(".text")).to_have_text("Hanging …")
    await screen.reload()
    await screen.stop.click()
    await screen.ended(screen.answers.first)
    await expect(screen.answers.locator(".notice-text")).to_have_text("Stopped.")


async def test_leaving_a_thread_does_not_stop_its_answer(screen: Screen) -> None:
    await screen.send(LONG)
    await expect(screen.answers.locator(".text")).to_contain_text("w10 ")
    await screen.new_thread()
    await expect(screen.stop).to_be_hidden()
    await screen.page.go_back()
    await expect(screen.stop).to_be_visible()
    await screen.ended(screen.answers.first)
    await expect(screen.answers.locator(".text")).to_have_text([ALL_OF_IT])


async def test_a_connection_lost_in_mid_answer_comes_back_without_losing_a_letter(
    wired: Screen, cable: Cable, complaints: Complaints
) -> None:
    complaints.expect(NETWORK)
    await wired.send(LONG)
    for word in ("w10 ", "w60 "):
        await expect(wired.answers.locator(".text")).to_contain_text(word)
        await cable.cut()
        await wired.page.wait_for_timeout(500)
        await cable.mend()
    await wired.ended(wired.answers.first)
    await expect(wired.answers.locator(".text[data-dressed]")).to_have_text([ALL_OF_IT])  # as Markdown


async def test_an_answer_that_ended_while_the_line_was_down_is_there_when_it_comes_back(
    wired: Screen, cable: Cable, complaints: Complaints
) -> None:
    complaints.expect(NETWORK)
    await wired.send("/tokens 60 15")
    await expect(wired.answers.locator(".text")).to_contain_text("w10 ")
    await cable.cut()
    await wired.page.wait_for_timeout(2000)
    await cable.mend()
    await wired.ended(wired.answers.first)
    await expect(wired.answers.locator(".text[data-dressed]")).to_have_text(
        [" ".join(f"w{number}" for number in range(1, 61))]
    )


async def test_an_answer_that_the_server_could_not_render_at_its_end_is_rendered_later(
    screen: Screen, complaints: Complaints
) -> None:
    complaints.expect(NETWORK)
    refused: list[str] = []

    async def refuse_once(route: Route) -> None:
        if refused:
            await route.continue_()
        else:
            refused.append(route.request.url)
            await route.abort()

    await screen.page.route(re.compile(r"/api/messages/\d+/\?"), refuse_once)
    await screen.send("/tokens 3 0")
    await expect(screen.answers.locator(".text[data-dressed]")).to_have_text(["w1 w2 w3"])
    assert refused


async def test_a_message_that_did_not_get_through_is_kept_and_sent_once_by_the_retry(
    wired: Screen, cable: Cable, complaints: Complaints
) -> None:
    complaints.expect(NETWORK)
    await cable.cut()
    await wired.send("/tokens 5")
    await expect(wired.questions).to_contain_text("Not sent. The server cannot be reached.")
    await expect(wired.questions.locator(".text")).to_have_text("/tokens 5")
    await expect(wired.answers).to_have_count(0)
    await wired.page.get_by_role("button", name="Try again").click()  # still cut
    await expect(wired.questions).to_contain_text("Not sent.")
    await cable.mend()
    await wired.page.get_by_role("button", name="Try again").click()
    await wired.ended(wired.answers.first)
    await wired.reload()
    await expect(wired.questions).to_have_text(["/tokens 5"])
    await expect(wired.answers.locator(".text")).to_have_text(["w1 w2 w3 w4 w5"])


async def test_a_session_that_ended_keeps_the_text_and_asks_for_the_login(
    screen: Screen, complaints: Complaints
) -> None:
    complaints.expect("401|403")
    await screen.page.context.clear_cookies()
    await screen.send("keep this")
    await expect(screen.page.get_by_role("alert")).to_contain_text("Your session has ended.")
    await expect(screen.box).to_have_value("keep this")
    await screen.page.get_by_role("alert").get_by_role("link", name="Log in").click()
    await expect(screen.page.get_by_label("Password")).to_be_visible()
