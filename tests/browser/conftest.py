from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.acceptance.postgres_owners import shared_folder
from tests.acceptance.server import DemoServer
from tests.browser.cable import Cable
from tests.browser.screen import Screen
from tests.conftest import needed

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)  # they share the browser


@pytest.fixture(scope="session")
def chromium() -> str:
    return needed("chromium", "the browser tests drive the page in it")


reachable = pytest.fixture(scope="session")(shared_folder)


@pytest.fixture(scope="session")
def server(chromium: str, reachable: Path) -> Iterator[DemoServer]:
    server = DemoServer(reachable, CHAT_ACCESS_CHECK_SECONDS=1)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, "--disable-sync"])
        yield browser
        await browser.close()


class Complaints:
    """What the browser said that it should not have: errors, refused content, dialogs."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.expected: list[str] = []

    def listen(self, page: Page) -> None:
        page.on("console", lambda message: message.type in ("error", "warning") and self.heard.append(message.text))
        page.on("pageerror", lambda error: self.heard.append(str(error)))
        page.on("dialog", lambda dialog: self.heard.append(f"dialog: {dialog.message}"))

    def expect(self, pattern: str) -> None:
        """The test makes something fail, and the browser will say so."""
        self.expected.append(pattern)

    def unexpected(self) -> list[str]:
        return [text for text in self.heard if not any(re.search(pattern, text) for pattern in self.expected)]


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    complaints = Complaints()
    yield complaints
    assert not complaints.unexpected(), complaints.unexpected()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, complaints: Complaints) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    complaints.listen(page)
    yield page
    await context.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cookies(server: DemoServer, browser: Browser) -> list[Any]:
    """A session of the demo account: a login takes a second, and one test is enough to try it."""
    context = await browser.new_context()
    await Screen(await context.new_page(), server.url).log_in()
    cookies = await context.cookies()
    await context.close()
    return cookies


@pytest_asyncio.fixture(loop_scope="session")
async def screen(server: DemoServer, page: Page, cookies: list[Any]) -> Screen:
    """The page, logged in."""
    return await _logged_in(page, cookies, server.url)


@pytest_asyncio.fixture(loop_scope="session")
async def cable(server: DemoServer) -> AsyncIterator[Cable]:
    cable = Cable(server.port)
    await cable.mend()
    yield cable
    await cable.cut()


@pytest_asyncio.fixture(loop_scope="session")
async def wired(cable: Cable, page: Page, cookies: list[Any]) -> Screen:
    """The page, logged in over a cable that can be cut."""
    return await _logged_in(page, cookies, cable.url)


Window = Callable[..., Awaitable[Screen]]


@pytest_asyncio.fixture(loop_scope="session")
async def window(browser: Browser, complaints: Complaints, cookies: list[Any]) -> AsyncIterator[Window]:
    """Opens an address in another window of its own, as the same person."""
    contexts = []

    async def opened(address: str, *, clock: bool = False) -> Screen:
        """With ``clock``, the test can move the page's time."""
        context = await browser.new_context(viewport={"width": 1280, "height": 800})
        contexts.append(context)
        await context.add_cookies(cookies)
        page = await context.new_page()
        complaints.listen(page)
        if clock:
            await page.clock.install()
        await page.goto(address)
        parts = urlsplit(address)
        return Screen(page, f"{parts.scheme}://{parts.netloc}")

    yield opened
    for context in contexts:
        await context.close()


@pytest.fixture(scope="session")
def neighbour(server: DemoServer) -> Iterator[DemoServer]:
    """Another process of the server, on the same database."""
    neighbour = DemoServer(server.folder, CHAT_DRAIN_SECONDS=0)
    try:
        neighbour.start()
        yield neighbour
    finally:
        neighbour.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def proxy(server: DemoServer) -> AsyncIterator[Cable]:
    """A proxy in front of the server that lets no WebSocket through."""
    proxy = Cable(server.port, sockets=False)
    await proxy.mend()
    yield proxy
    await proxy.cut()


async def _logged_in(page: Page, cookies: list[Any], url: str) -> Screen:
    await page.context.add_cookies(cookies)
    screen = Screen(page, url)
    await page.goto(f"{url}/")
    await screen.is_empty()
    return screen
