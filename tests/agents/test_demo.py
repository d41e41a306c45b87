"""The demo agent is what a site without CHAT_AGENT has: what anybody may ask of it is bounded."""

from __future__ import annotations

from contextlib import suppress

import pytest

from chat.agents import demo
from tests.agents.test_contract import turn_of


@pytest.mark.parametrize("asked", ["/tokens 50 0", "/fail 50", "/tokens 50 " + "9" * 400], ids=lambda asked: asked[:12])
async def test_no_number_makes_it_say_or_wait_more_than_it_may(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setattr(demo, "MOST", 3)
    said: list[str] = []
    with suppress(demo.DemoFailure):
        async for chunk in demo.agent.run(turn_of(asked)):
            said += [chunk["delta"]] if chunk["type"] == "text-delta" else []
    assert said == ["w1 ", "w2 ", "w3 "]
