"""What a socket keeps of what it has told, and what it says when its process ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest
from asgiref.sync import sync_to_async

from chat.models import Thread, Turn, TurnStatus
from chat.store.scope import Scope
from chat.store.turns import read_turn
from chat.streams.cursors import Cursor
from chat.testing.client import Client, said
from chat.turns.process import end_process
from chat.ws.telling import REMEMBERED, Telling
from tests.turns.waiting import decide, parked, whole
from tests.ws.sockets import chunks_of, socket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def test_a_socket_keeps_nothing_of_turns_that_are_over(client: Client, asker: Scope) -> None:
    await client.request("POST", "/api/threads/", {"id": "t1"})
    thread = (await Thread.objects.aget()).pk
    texts: list[str] = []

    async def send(text: str) -> None:
        texts.append(text)

    telling = Telling(asker, thread, send)
    running = asyncio.create_task(telling.run(Cursor(0, 0), None, None))
    for number in range(REMEMBERED + 3):
        await client.send("t1", "/tokens 1 0", f"m{number}")
    async with asyncio.timeout(10):
        while sum('"status":"completed"' in text for text in texts if text.startswith('{"turn"')) < REMEMBERED + 3:
            await asyncio.sleep(0.01)
    before = len(texts)
    await telling.tell(await sync_to_async(read_turn)(asker, (await Turn.objects.alatest("pk")).pk))  # as a retry does
    assert len(texts) == before, "nothing twice"
    assert (telling._streams, telling._legs, telling._positions) == ({}, {}, {})
    assert len(telling._told) == REMEMBERED
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_leg_that_began_and_ended_while_the_one_before_was_still_told_is_told(
    client: Client, asker: Scope
) -> None:
    turn, first = await parked(client)
    waiting = await sync_to_async(read_turn)(asker, turn.pk)
    texts: list[str] = []
    held, read = asyncio.Event(), asyncio.Event()

    async def send(text: str) -> None:
        texts.append(text)
        if "chunk" in orjson.loads(text):
            held.set()
            await read.wait()

    telling = Telling(asker, waiting.conversation, send)
    async with asyncio.timeout(10), telling._tasks:
        telling.tell_soon(replace(waiting, status=TurnStatus.STREAMING, last_seq=0, approvals=[]))  # as it began
        await held.wait()
        await decide(client, turn, {"approved": True})
        chunks = await whole(client, turn)
        ended = await sync_to_async(read_turn)(asker, turn.pk)
        # What it hears next, where all that happened meanwhile was read at once.
        telling.tell_soon(ended)
        read.set()
    frames = [orjson.loads(text) for text in texts]
    assert len(chunks) > len(first)
    assert chunks_of(frames) == chunks, "each once"
    assert [frame["turn"]["status"] for frame in frames if "turn" in frame] == ["streaming", "completed"]


async def test_a_socket_that_comes_back_hears_of_a_turn_that_was_overtaken_and_has_run_since(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as first:
        await first.until("text-delta")
        overtaken = asyncio.create_task(client.send("t1", "/tokens 2 0", "m2", on_busy="enqueue"))
        while not await Turn.objects.filter(turn_id="m2").aexists():
            await asyncio.sleep(0.01)
        before = (await client.send("t1", "/tokens 1 0", "m3", on_busy="stop")).chunks()
    assert (await overtaken).chunks()[-1]["type"] == "finish"
    read = await Turn.objects.aget(turn_id="m3")
    assert read.pk > (await Turn.objects.aget(turn_id="m2")).pk
    async with socket(client, f"/ws/threads/t1/?after={read.pk}-{len(before)}") as tab:
        heard = await tab.until(turn_id="m2", status="completed")
    assert chunks_of(heard)[-1]["type"] == "finish"


async def test_a_socket_of_a_process_that_ends_is_told_to_come_again(client: Client) -> None:
    await client.send("t1", "/tokens 1 0")
    async with socket(client, "/ws/threads/t1/") as tab:
        await tab.say({"stop": {}})
        assert await tab.hear() == {"stop": {"turn": None}}
        await end_process()
        assert await tab.hear() is None
        assert tab.code == 1012
