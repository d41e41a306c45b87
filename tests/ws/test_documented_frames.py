"""docs/websocket.md: what it says that a client sends is sent, and what it says that comes back has come back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from chat.protocol.frames import KINDS
from chat.testing.client import Client
from tests.ws.sockets import socket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "websocket.md").read_text()


def told(side: str) -> list[Any]:
    """The examples of one side, in the page's order. Where a line begins with a brace, another one begins."""
    blocks = re.findall(rf"^```json {side}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [orjson.loads(text) for block in blocks for text in re.split(r"\n(?=\{)", block.strip())]


async def test_every_frame_of_the_page_is_true(client: Client) -> None:
    first, hang, queued, rejected, stop, stop_named, approve = told("client")
    assert {kind for frame in told("client") for kind in KINDS if kind in frame} == set(KINDS)
    await client.request("POST", "/api/threads/", {"id": "t1"})
    thread = (await client.request("GET", "/api/threads/")).json()["results"][0]["id"]
    async with socket(client, f"/ws/threads/{thread}/") as tab:
        await tab.say(first)
        heard = await tab.until(turn_id="m1", status="completed")
        await tab.say(hang)
        heard += await tab.until(turn_id="m2", status="streaming")
        await tab.say(queued)
        heard += await tab.until(turn_id="m3", status="queued")
        await tab.say(rejected)
        while "error" not in heard[-1]:
            heard.append(await tab.hear() or pytest.fail("the socket was closed"))
        assert heard[-1]["ref"] == rejected["ref"]
        stop_named["stop"]["turn"] = heard[-1]["error"]["turn"]
        await tab.say(stop)
        heard += await tab.until(turn_id="m2", status="stopped")
        heard += await tab.until(turn_id="m3", status="awaiting_approval")
        await tab.say(stop_named)
        turn = heard[-1]["turn"]
        approve["approve"] |= {"turn": turn["turn"]}
        approve["approve"]["decisions"][0] |= {"tool_call_id": turn["approvals"][0]["tool_call_id"]}
        await tab.say(approve)
        heard += await tab.until(turn_id="m3", status="completed")
        answer = (await client.request("GET", f"/api/threads/{thread}/messages/")).json()["results"][1]["id"]
        again = {"id": thread, "messages": [], "trigger": "regenerate-message", "messageId": answer}
        assert (await client.request("POST", "/api/chat", again)).status == 200
        heard += await tab.until(trigger="regenerate", status="completed")
        assert (await client.request("POST", f"/api/messages/{answer}/restore/")).status == 200
        heard.append(await tab.hear() or pytest.fail("the socket was closed"))
    for example in told("server"):
        assert any(shape(frame) == shape(example) for frame in heard), example


def shape(value: Any) -> Any:
    """The keys of an object, in all its depth, with what says its kind."""
    if not isinstance(value, dict):
        return None
    return {key: inner if key in ("type", "code", "ref") else shape(inner) for key, inner in value.items()}
