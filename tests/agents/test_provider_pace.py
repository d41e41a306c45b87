"""A provider that hangs or hurries: a stop reaches it at once, a silence ends, a flood starves nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chat.models import TokenUsage, Turn
from chat.testing.client import Client, said
from chat.testing.invariants import assert_database_is_sound
from tests.agents.conftest import Start
from tests.agents.provider import HEAD, Exchange, framed, piece, usage
from tests.agents.sends import STOP, ask, text_of, whole_answer
from tests.scale import rounds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("the_next_message_works")]


@pytest.mark.parametrize("when", ["before the headers", "after the headers", "in mid answer"])
async def test_a_stop_reaches_the_provider_within_a_second(client: Client, start_provider: Start, when: str) -> None:
    async def answer(exchange: Exchange) -> None:
        if when != "before the headers":
            await exchange.send(HEAD)
        if when == "in mid answer":
            await exchange.send(framed(piece("ANSWER")))
        await asyncio.Event().wait()

    provider = await start_provider(answer)
    async with client.stream("POST", "/api/chat", said("t1", "QUESTION")) as stream:
        await provider.arrived.wait()
        await asyncio.sleep(0.1)
        await client.request("POST", "/api/chat/t1/stop")
        await asyncio.wait_for(provider.hung_up.wait(), 1)
        assert b"abort" in await stream.body()
    turn = await Turn.objects.aget()
    row = await TokenUsage.objects.aget()
    assert turn.status == "stopped"
    assert row.source == ("estimated" if when == "in mid answer" else "missing")
    await sync_to_async(assert_database_is_sound)()


async def test_a_provider_that_hangs_fails_the_turn_and_is_let_go(
    client: Client, start_provider: Start, settings: Any
) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(HEAD + framed(piece("ANSWER")))
        await asyncio.Event().wait()

    settings.CHAT_STALL_SECONDS = 2
    provider = await start_provider(answer)
    turn = await ask(client)
    assert (turn.status, turn.error_code) == ("failed", "agent_stalled")
    assert await text_of(turn) == "ANSWER"
    await asyncio.wait_for(provider.hung_up.wait(), 1)


@pytest.mark.proof
@pytest.mark.timeout(600)
async def test_a_hundred_thousand_tokens_a_second_do_not_starve_another_turn(
    client: Client, start_provider: Start
) -> None:
    count = rounds(5_000, 100_000)

    async def answer(exchange: Exchange) -> None:
        if exchange.body["messages"][-1]["content"] != "many":
            await whole_answer(exchange)
            return
        tokens = [framed(piece(f"w{number} ")) for number in range(count)]
        await exchange.send(HEAD)
        for place in range(0, count, 1000):
            await exchange.send(b"".join(tokens[place : place + 1000]))
            await asyncio.sleep(0.01)
        await exchange.send(b"".join(map(framed, (STOP, usage()))) + b"0\r\n\r\n")

    await start_provider(answer)
    await client.send("t1", "QUESTION")  # what is loaded first is loaded
    loop = asyncio.get_running_loop()
    many = asyncio.create_task(client.send("t2", "many"))
    await asyncio.sleep(0.1)
    longest = 0.0
    while not many.done():
        before = loop.time()
        await asyncio.sleep(0.01)
        longest = max(longest, loop.time() - before)
    _, turn = await sync_to_async(assert_database_is_sound)()
    assert turn.text == "".join(f"w{number} " for number in range(count))
    assert longest < 1
