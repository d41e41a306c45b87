"""What one tab does, another shows as it happens."""

from __future__ import annotations

from playwright.async_api import expect

from chat.testing.servers import Server
from tests.browser.cable import Cable
from tests.browser.conftest import Complaints, Window
from tests.browser.screen import Screen
from tests.browser.test_connection import NETWORK

JSON = "application/json"


def words(number: int) -> str:
    return " ".join(f"w{each}" for each in range(1, number + 1))


async def test_a_second_tab_at_another_process_shows_the_turns_of_the_first_as_they_grow(
    screen: Screen, window: Window, neighbour: Server
) -> None:
    thread = (await screen.call("POST", "/api/threads/", {"title": "Empty"}))["id"]
    await screen.page.goto(f"{screen.url}/threads/{thread}/")
    second = await window(f"{neighbour.url}/threads/{thread}/")
    await expect(second.page.get_by_role("heading", level=1)).to_have_text("Empty")
    await second.watch_lengths()
    await screen.send("/tokens 150 15")
    await expect(second.questions).to_have_text(["/tokens 150 15"])
    await expect(second.stop).to_be_visible()
    for tab in (screen, second):
        await tab.ended(tab.answers.first)
        await tab.hold_text(words(150))
        await expect(tab.answers.locator("[data-dressed]")).to_have_count(1)
    assert await second.lengths() > 10
    assert await second.log.inner_text() == await screen.log.inner_text()

    await second.send("/fail 3")  # and the other way round
    for tab in (screen, second):
        await expect(tab.answers.nth(1).locator(".notice-text")).to_have_text("The demo agent failed, as you asked.")
        await expect(tab.stop).to_be_hidden()


async def test_a_turn_stopped_in_one_tab_is_stopped_in_the_other(screen: Screen, window: Window) -> None:
    await screen.send("/hang")
    await expect(screen.answers.locator(".text")).to_have_text("Hanging …")
    second = await window(screen.page.url)
    await expect(second.answers.locator(".text")).to_have_text("Hanging …")
    await second.stop.click()
    for tab in (screen, second):
        await tab.ended(tab.answers.first)
        await expect(tab.answers.locator(".notice-text")).to_have_text("Stopped.")


async def test_a_line_that_is_cut_in_the_second_tab_loses_no_letter(
    screen: Screen, window: Window, cable: Cable, complaints: Complaints
) -> None:
    complaints.expect(NETWORK)
    await screen.ask("/tokens 1 0")
    second = await window(screen.page.url.replace(screen.url, cable.url))
    await expect(second.answers).to_have_count(1)
    await screen.send("/tokens 200 15")
    for word in ("w10 ", "w60 "):
        await expect(second.answers.nth(1).locator(".text")).to_contain_text(word)
        await cable.cut()
        await expect(screen.answers.nth(1).locator(".text")).to_contain_text(word.replace("0 ", "9 "))
        await cable.mend()
    for tab in (screen, second):
        await tab.ended(tab.answers.nth(1))
        await tab.hold_text("w1", words(200))
    await expect(second.questions).to_have_text(["/tokens 1 0", "/tokens 200 15"])


async def test_a_line_that_died_in_silence_is_found_out_and_joined_anew(
    screen: Screen, window: Window, cable: Cable, complaints: Complaints
) -> None:
    complaints.expect(NETWORK)
    await screen.ask("/tokens 1 0")
    second = await window(screen.page.url.replace(screen.url, cable.url), clock=True)
    await expect(second.answers).to_have_count(1)
    await screen.send("/tokens 100 10")
    await expect(second.answers.nth(1).locator(".text")).to_contain_text("w10 ")
    cable.silence()  # no end of a connection that a browser could see
    await screen.ended(screen.answers.nth(1))
    await expect(second.stop).to_be_visible()
    await second.page.clock.fast_forward(30_000)
    await second.ended(second.answers.nth(1))
    await second.hold_text("w1", words(100))


async def test_turns_that_ran_while_the_line_was_down_are_there_when_it_comes_back(
    screen: Screen, window: Window, cable: Cable, complaints: Complaints
) -> None:
    complaints.expect(NETWORK)
    await screen.ask("/tokens 1 0")
    second = await window(screen.page.url.replace(screen.url, cable.url))
    await expect(second.answers).to_have_count(1)
    await cable.cut()
    await screen.ask("/tokens 2 0")
    await screen.ask("/tokens 3 0")
    await expect(second.page.get_by_text("The connection is lost.")).to_be_visible()
    await cable.mend()
    await second.hold_text("w1", "w1 w2", "w1 w2 w3")
    await expect(second.questions).to_have_text(["/tokens 1 0", "/tokens 2 0", "/tokens 3 0"])
    await expect(second.page.get_by_text("The connection is lost.")).to_be_hidden()


async def test_a_thread_that_is_deleted_elsewhere_can_be_gone_on_with_when_it_is_restored(
    screen: Screen, window: Window, complaints: Complaints
) -> None:
    complaints.expect("404|WebSocket connection to")
    await screen.send("/hang")
    await expect(screen.answers.locator(".text")).to_have_text("Hanging …")
    await screen.send("/tokens 2 0")
    second = await window(screen.page.url)
    await expect(second.waiting).to_have_count(1)
    path = f"/api/threads/{screen.page.url.rstrip('/').rpartition('/')[2]}"
    await screen.page.request.delete(f"{screen.url}{path}/", headers={"origin": screen.url, "content-type": JSON})
    alert = second.page.get_by_role("alert")
    await expect(alert).to_contain_text("There is no such thread, or it is not yours.", timeout=20_000)
    await expect(second.waiting).to_have_count(0)
    await screen.call("POST", f"{path}/restore/")
    await alert.get_by_role("button", name="Try again").click()
    await second.hold_text("Hanging …", "w1 w2")
    await expect(second.waiting).to_have_count(0)


async def test_behind_a_proxy_without_sockets_all_of_it_works_over_plain_http(
    screen: Screen, window: Window, proxy: Cable, complaints: Complaints
) -> None:
    complaints.expect(NETWORK)
    second = await window(f"{proxy.url}/")
    await second.is_empty()
    await second.ask("/tokens 3 0")  # a new thread's first turn
    await screen.page.goto(second.page.url.replace(proxy.url, screen.url))
    await screen.hold_text("w1 w2 w3")
    await screen.send("/hang")  # another's turn: seen at the next look
    await expect(second.answers.nth(1).locator(".text")).to_have_text("Hanging …")
    await second.send("/tokens 5 0")
    await expect(second.waiting).to_contain_text("Waits for the answer before it")
    await second.page.get_by_role("button", name="Cancel").click()
    await expect(second.waiting).to_have_count(0)
    await second.stop.click()
    await second.ended(second.answers.nth(1))
    await second.send("/tokens 400 20")  # its own turn, in a thread that it knows
    await expect(second.answers.nth(2).locator(".text")).to_contain_text("w10 ")
    await second.page.reload()
    await second.watch_lengths()
    await second.ended(second.answers.nth(2))
    await second.hold_text("w1 w2 w3", "Hanging …", words(400))
    assert await second.lengths() > 10


async def test_a_load_asks_for_the_state_once_and_for_no_other_page_of_messages(screen: Screen, window: Window) -> None:
    await screen.ask("/tokens 2 0")
    second = await window(f"{screen.url}/")
    asked: list[str] = []
    second.page.on("request", lambda request: asked.append(request.url))
    for live in (False, True):
        if live:
            await screen.send("/tokens 100 10")
            await expect(screen.answers.nth(1).locator(".text")).to_contain_text("w5 ")
        asked.clear()
        await second.page.goto(screen.page.url)
        await expect(second.answers).to_have_count(2 if live else 1)
        if live:
            await second.ended(second.answers.nth(1))
            await second.hold_text("w1 w2", words(100))
        # The answer that has ended is asked for once more, as the server renders it; opinions are another matter.
        others = ("/api/threads/?", "/api/messages/", "/feedback/")
        calls = [url for url in asked if "/api/" in url and not any(other in url for other in others)]
        assert [url.rsplit("/", 2)[1] for url in calls] == ["state"], calls


async def test_a_server_that_goes_away_in_mid_answer_leaves_it_interrupted_and_the_page_finds_back(
    neighbour: Server, window: Window, complaints: Complaints
) -> None:
    complaints.expect(NETWORK)
    tab = await window(f"{neighbour.url}/")
    await tab.is_empty()
    await tab.send("/hang")
    await expect(tab.answers.locator(".text")).to_have_text("Hanging …")
    neighbour.stop()
    neighbour.start()
    await expect(tab.answers.locator(".notice-text")).to_have_text(
        "Interrupted: the answer is not complete. What was written until then is kept.", timeout=20_000
    )
    await expect(tab.answers.locator(".text")).to_have_text(["Hanging …"])
    await expect(tab.stop).to_be_hidden()
    await tab.ask("/tokens 3 0")
    await tab.hold_text("Hanging …", "w1 w2 w3")
