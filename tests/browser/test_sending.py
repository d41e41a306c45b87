from __future__ import annotations

from playwright.async_api import Page, expect

from chat.testing.servers import Server
from tests.browser.screen import NUMBER, Screen


async def test_a_person_logs_in_sends_watches_the_answer_grow_and_finds_both_messages_after_a_reload(
    server: Server, page: Page
) -> None:
    screen = Screen(page, server.url)
    await screen.log_in()
    await page.evaluate(
        """() => {
            window.lengths = new Set();
            new MutationObserver(() => {
                const text = document.querySelector('.message-assistant .text')?.textContent ?? '';
                window.lengths.add(text.length);
            }).observe(document.getElementById('log'), {subtree: true, childList: true, characterData: true});
        }"""
    )
    answer = await screen.ask("/tokens 50 10")

    said = " ".join(f"w{number}" for number in range(1, 51))
    await expect(answer.locator(".text")).to_have_text(said)
    assert await page.evaluate("window.lengths.size") > 5
    await expect(page).to_have_url(f"{server.url}/threads/{await thread_id(page)}/")
    await expect(page.locator(".usage")).to_contain_text("50 out")

    await screen.reload()
    await expect(screen.questions).to_have_text(["/tokens 50 10"])
    await expect(screen.answers.locator(".text")).to_have_text([said])
    await expect(page.locator(".usage")).to_contain_text("50 out")


async def test_optimistic_messages_are_renamed_in_place_when_the_servers_ids_arrive(screen: Screen) -> None:
    names = """() => new Promise((resolve) => {
        const log = document.getElementById('log');
        const first = [];
        new MutationObserver(() => {
            for (const message of log.children) {
                if (!first.includes(message)) {
                    message.firstName = message.dataset.messageId;
                    first.push(message);
                }
            }
            if (first.length === 2 && first.every((each) => each.dataset.messageId !== each.firstName)) {
                resolve(first.map((each) => [each.firstName, each.dataset.messageId, each.isConnected]));
            }
        }).observe(log, {subtree: true, childList: true, attributes: true});
    })"""
    await screen.page.evaluate(f"() => {{ window.renamed = ({names})(); }}")
    await screen.ask("/tokens 5")
    for first, second, same_element in await screen.page.evaluate("window.renamed"):
        assert len(first) == 16
        assert NUMBER.match(second)
        assert same_element
    shown = await screen.log.evaluate("log => [...log.children].map(each => each.dataset.messageId)")
    stored = await screen.call("GET", f"/api/threads/{await thread_id(screen.page)}/messages/")
    assert shown == [message["id"] for message in stored["results"]]


async def test_markup_is_shown_as_text(screen: Screen) -> None:
    typed = '<img src=x onerror="alert(1)"><script>alert(2)</script><b>bold</b> &amp;'
    answer = await screen.ask(typed)
    for _ in range(2):
        await expect(screen.questions).to_have_text([typed])
        # The answer is Markdown, in which an entity is the character that it stands for.
        await expect(answer).to_contain_text(f"You said: {typed}".replace("&amp;", "&"))
        await expect(screen.log.locator("img, script, b")).to_have_count(0)
        await expect(screen.page.get_by_role("heading", level=1)).to_contain_text("<img src=x")
        await screen.reload()  # the fixture ``complaints`` refuses dialogs and CSP violations


async def test_a_suggestion_sends_what_it_shows(screen: Screen) -> None:
    await screen.page.locator("#welcome").get_by_role("button", name="/tokens 50").click()
    await expect(screen.questions).to_have_text(["/tokens 50"])
    await screen.ended(screen.answers.first)


async def test_shift_enter_makes_a_line_and_the_box_grows_with_them(screen: Screen) -> None:
    low = await height(screen)
    await screen.box.press_sequentially("one")
    for word in ("two", "three", "four"):
        await screen.box.press("Shift+Enter")
        await screen.box.press_sequentially(word)
    assert await height(screen) > low + 40
    await screen.box.press("Enter")
    await expect(screen.box).to_have_value("")
    assert await height(screen) == low
    await expect(screen.questions.locator(".text")).to_have_js_property("textContent", "one\ntwo\nthree\nfour")
    await screen.ended(screen.answers.first)


async def test_blank_text_is_not_sent(screen: Screen) -> None:
    await screen.send("  \n ")
    await expect(screen.page.get_by_role("button", name="Send")).to_be_disabled()
    await expect(screen.questions).to_have_count(0)


async def thread_id(page: Page) -> str:
    return page.url.rstrip("/").rsplit("/", 1)[1]


async def height(screen: Screen) -> float:
    box = await screen.box.bounding_box()
    assert box is not None
    return box["height"]
