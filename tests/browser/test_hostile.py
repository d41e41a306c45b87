"""What was written to run something in another's browser, stored in every place that the page shows."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Browser, Page, Request, expect

from chat.testing.servers import Server
from tests.browser.conftest import Complaints
from tests.browser.screen import Screen
from tests.browser.stored import history, rewrite
from tests.unit.test_markdown import ATTACKS

NAME = '"><img src=x onerror=alert(1)>.png'
ADDRESSES = [
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "//evil.example/a.png",
    "/logout/",
    "https://evil.example/a.png",
]
# Whatever could run, once somebody clicks or a parser comes again.
ARMED = """() => [...document.querySelectorAll('*')].filter(each =>
    [...each.attributes].some(({name, value}) =>
        /^on|^srcdoc$|^style$/.test(name) && each.id !== 'thread-menu' && each.tagName !== 'TEXTAREA'
        || /^(href|src|action|formaction)$/.test(name) && /^\\s*(javascript|vbscript|data:text)/i.test(value))
    || each.matches('script:not([src^="/static/"]), iframe, object, embed, base, form[action*=evil], meta[http-equiv]')
).map(each => each.outerHTML.slice(0, 200))"""


def hostile_parts() -> list[dict[str, Any]]:
    """Each attack where a model, a tool or a person can put it."""
    parts: list[dict[str, Any]] = []
    for number, attack in enumerate(ATTACKS):
        call = {"toolCallId": f"call-{number}", "state": "output-available"}
        parts += [
            {"type": "text", "text": attack, "state": "done"},
            {"type": "reasoning", "text": attack, "state": "done"},
            {"type": "dynamic-tool", "toolName": attack, **call, "input": {attack: attack}, "output": attack},
        ]
    for address in ADDRESSES:
        parts += [
            {"type": "source-url", "sourceId": address, "url": address, "title": NAME},
            {"type": "file", "mediaType": "image/png", "url": address, "filename": NAME},
        ]
    return parts


async def test_nothing_stored_runs_or_asks_another_host_wherever_it_is_shown(
    screen: Screen, server: Server, browser: Browser, complaints: Complaints
) -> None:
    asked: list[str] = []

    def watch(page: Page) -> None:
        def note(request: Request) -> None:
            asked.append(request.url)

        page.on("request", note)

    watch(screen.page)
    title = f"xylophone {ATTACKS[1]}"
    await screen.ask(f"xylophone {' '.join(ATTACKS)}")
    thread = screen.page.url.rstrip("/").rpartition("/")[2]
    await screen.call("PATCH", f"/api/threads/{thread}/", {"title": title})
    files = [{"type": "file", "mediaType": "image/png", "url": address, "filename": NAME} for address in ADDRESSES]
    said = {"role": "user", "parts": [{"type": "text", "text": ATTACKS[0]}, *files]}
    await screen.call("POST", f"/api/threads/{thread}/messages/", said)
    rewrite(server, (await history(screen))[1]["id"], "xylophone", *hostile_parts())
    link = (await screen.call("POST", f"/api/threads/{thread}/shares/", {}))["secret"]

    await screen.reload()
    await expect(screen.answers.locator("[data-dressed]")).to_have_count(len(ATTACKS) + 1)
    await expect(screen.page.get_by_role("heading", level=1)).to_have_text(title)
    await expect(screen.questions.last.locator(".file-name").first).to_have_text(NAME)
    assert await screen.page.evaluate(ARMED) == []
    await screen.page.get_by_label("Search titles and messages").fill("xylophone")
    await expect(screen.page.locator("#hits mark:visible").first).to_be_visible()
    assert await screen.page.evaluate(ARMED) == []

    context = await browser.new_context()
    stranger = await context.new_page()
    complaints.listen(stranger)
    watch(stranger)
    await stranger.goto(f"{server.url}/shared/{link}/")
    await expect(stranger.get_by_role("heading", level=1)).to_have_text(title)
    assert await stranger.evaluate(ARMED) == []
    await context.close()
    foreign = [url for url in asked if not url.startswith(server.url)]
    assert not foreign, foreign
