"""Looks at a state of the page with the eyes of those who use it: nothing overflows, everything can be hit, read and
understood without seeing it; and leaves a picture in ``screenshots/`` for people to look at."""

from __future__ import annotations

import json
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Page

from tests.acceptance.server import ROOT
from tests.browser.screen import Screen

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE = json.dumps({"runOnly": TAGS, "resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}})
LEAST_TARGET = 40  # CSS pixels, for a finger

# What can be touched and is smaller than that, links within a text aside.
SMALL = """least => [...document.querySelectorAll('button, select, input, textarea, summary, a[href]')]
    .filter(each => each.checkVisibility({visibilityProperty: true, opacityProperty: true}))
    .filter(each => !each.closest('p, .text, [inert], .skip-link'))
    .filter(each => { const {width, height} = each.getBoundingClientRect(); return Math.min(width, height) < least; })
    .map(each => [each.outerHTML.slice(0, 90), each.getBoundingClientRect().toJSON()])"""
# What stands in front of the page and reaches beyond it.
BEYOND = """() => [...document.querySelectorAll('dialog[open], [popover]:popover-open, .toast:not([hidden])')]
    .map(each => each.getBoundingClientRect())
    .filter(({left, top, right, bottom}) => left < 0 || top < 0 || right > innerWidth || bottom > innerHeight).length"""


class Gallery:
    def __init__(self, page: Page, name: str, *, fingers: bool) -> None:
        self._page, self._name, self._fingers = page, name, fingers

    async def look(self, state: str) -> None:
        """Raises AssertionError for what somebody could not see, hit or understand."""
        page = self._page
        await Screen(page, "").fits()
        assert not await page.evaluate(BEYOND), state
        if self._fingers:
            small = await page.evaluate(SMALL, LEAST_TARGET)
            assert not small, (state, small)
        if not await page.evaluate("'axe' in window"):
            await page.evaluate(AXE_SCRIPT)  # it comes through the debugger, which the page's policy does not concern
        found: list[dict[str, Any]] = (await page.evaluate(f"axe.run(document, {AXE})"))["violations"]
        faults = [
            (fault["id"], fault["impact"], [node["html"][:160] for node in fault["nodes"]])
            for fault in found
            if fault["impact"] in ("serious", "critical", "moderate")
        ]
        assert not faults, (state, faults)
        # The caret is left alone: hiding it takes a style that the page's policy refuses.
        await page.screenshot(path=ROOT / "screenshots" / f"{state}-{self._name}.png", caret="initial")
