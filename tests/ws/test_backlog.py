"""A client that does not keep up with what it is told is heard all the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chat.testing.client import Client, said
from chat.testing.scripted import script_of
from chatproject.asgi import application
from tests.ws.sockets import chunks_of, socket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def test_a_stop_does_not_wait_until_a_replay_is_read(client: Client) -> None:
    await client.send("t1", "/tokens 3 0", "m0")
    replayed, read = asyncio.Event(), asyncio.Event()

    async def over_a_slow_line(scope: Any, receive: Any, send: Any) -> None:
        async def held(message: dict[str, Any]) -> None:
            if '"chunk"' in (message.get("text") or ""):
                replayed.set()
                await read.wait()
            await send(message)

        await application(scope, receive, held)

    async with socket(client, "/ws/threads/t1/?after=0-0", over_a_slow_line) as tab:
        await replayed.wait()
        await tab.say({"submit": said("", "/hang", "m1"), "ref": 1})
        begun = await tab.hear()
        assert begun is not None
        await tab.say({"stop": {}, "ref": 2})
        assert await tab.hear() == {"stop": {"turn": begun["turn"]["turn"]}, "ref": 2}
        read.set()
        await tab.until(turn_id="m1", status="stopped")


async def test_a_client_that_does_not_read_is_closed_with_a_code_and_goes_on_later(
    client: Client, settings: Any
) -> None:
    settings.CHAT_SLOW_READER_SECONDS = 0.2
    await client.send("t1", "/tokens 3 0", "m0")

    async def over_a_dead_line(scope: Any, receive: Any, send: Any) -> None:
        async def lost(message: dict[str, Any]) -> None:
            if '"chunk"' in (message.get("text") or ""):
                await asyncio.Event().wait()
            await send(message)

        await application(scope, receive, lost)

    async with socket(client, "/ws/threads/t1/?after=0-0", over_a_dead_line) as tab:
        while await tab.hear() is not None:
            pass
        assert tab.code == 4408
    async with socket(client, "/ws/threads/t1/?after=0-0") as tab:
        assert chunks_of(await tab.until(turn_id="m0", status="completed"))[-1]["type"] == "finish"


@pytest.mark.usefixtures("scripted")
async def test_a_large_frame_takes_a_slow_line_its_time(client: Client, settings: Any) -> None:
    settings.CHAT_SLOW_READER_SECONDS = 0.2
    image = {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64," + "A" * 100_000}
    await client.send("t1", script_of([image]), "m0")

    async def over_a_slow_line(scope: Any, receive: Any, send: Any) -> None:
        async def slow(message: dict[str, Any]) -> None:
            if len(message.get("text") or "") > 100_000:
                await asyncio.sleep(0.8)
            await send(message)

        await application(scope, receive, slow)

    async with socket(client, "/ws/threads/t1/?after=0-0", over_a_slow_line) as tab:
        assert image in chunks_of(await tab.until(turn_id="m0", status="completed"))
