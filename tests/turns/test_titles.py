"""A new thread is named by its first message, or by the agent; a person's title stays, and no answer waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar

import pytest

from chat.agents.base import TurnContext
from chat.agents.demo import DemoAgent
from chat.models import Thread, TokenUsage
from chat.testing.client import Client, said
from tests.folded import assert_shown_is_stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]

LONG = "how many words can a title have before it is cut between two of them and given a sign that there are more"


class Titles(DemoAgent):
    """The demo agent with a way to make titles that a test chooses."""

    make: ClassVar[Callable[[TurnContext], Awaitable[Any]]]

    async def title(self, turn: TurnContext) -> Any:
        return await type(self).make(turn)


class CountsNothing:
    """Tells what its title took, and not what its answer did."""

    titled: ClassVar[asyncio.Event]

    async def title(self, turn: TurnContext) -> str:
        turn.usage.add(model="small", prompt_tokens=3, completion_tokens=2)
        self.titled.set()
        return "About nothing"

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        await self.titled.wait()
        yield {"type": "text-delta", "id": "1", "delta": "I count nothing."}


@pytest.fixture
def entitled(settings: Any) -> Callable[[Callable[[TurnContext], Awaitable[Any]]], None]:
    """Chooses how the agent makes titles."""

    def choose(make: Callable[[TurnContext], Awaitable[Any]]) -> None:
        settings.CHAT_AGENT = "tests.turns.test_titles.Titles"
        Titles.make = staticmethod(make)

    return choose


def titles(chunks: list[dict[str, Any]]) -> list[str]:
    return [chunk["data"]["title"] for chunk in chunks if chunk["type"] == "data-thread-title"]


async def answered(client: Client, text: str = "/tokens 20 5") -> list[str]:
    """The titles that the answer's stream told; the answer itself is whole."""
    chunks = (await client.send("t1", text)).chunks()
    turn = await assert_shown_is_stored(chunks)
    assert turn.status == "completed"
    return titles(chunks)


async def stored() -> str:
    return (await Thread.objects.aget()).title


async def becomes(title: str) -> None:
    async with asyncio.timeout(5):
        while await stored() != title:
            await asyncio.sleep(0.01)


async def test_the_first_message_names_its_thread_once(client: Client) -> None:
    (title,) = await answered(client, LONG)
    assert title == "how many words can a title have before it is cut between two of them and given…"
    assert await stored() == title
    assert await answered(client, "another thing") == []
    assert await stored() == title


async def test_a_thread_that_a_person_has_named_keeps_its_name(client: Client, entitled: Callable[..., None]) -> None:
    asked: list[TurnContext] = []

    async def make(turn: TurnContext) -> str:
        asked.append(turn)
        return "The agent's"

    entitled(make)
    await client.request("POST", "/api/threads/", {"id": "t1", "title": "Mine"})
    assert await answered(client) == []
    assert (await stored(), asked) == ("Mine", [])


async def test_the_agents_title_takes_the_place_of_the_cut_text_and_costs_what_it_says(
    client: Client, entitled: Callable[..., None]
) -> None:
    async def make(turn: TurnContext) -> str:
        await asyncio.sleep(0.01)
        turn.usage.add(model="small", prompt_tokens=3, completion_tokens=2)
        return f"About\n {turn.text}"

    entitled(make)
    assert await answered(client) == ["/tokens 20 5", "About /tokens 20 5"]
    assert await stored() == "About /tokens 20 5"
    assert (await TokenUsage.objects.aget()).model_breakdown.keys() == {"small", "demo"}
    assert await answered(client) == [], "it is asked once"


async def test_the_title_s_tokens_do_not_pass_for_the_answer_s(client: Client, settings: Any) -> None:
    settings.CHAT_AGENT = f"{__name__}.CountsNothing"
    CountsNothing.titled = asyncio.Event()
    await answered(client)
    usage = await TokenUsage.objects.aget()
    title, answer = usage.call_details["calls"]
    assert (usage.source, title["total_tokens"], answer["estimated"]) == ("estimated", 5, True)
    assert usage.total_tokens == 5 + answer["total_tokens"] > 5


async def test_the_answer_does_not_wait_for_a_slow_title(client: Client, entitled: Callable[..., None]) -> None:
    answer_is_there = asyncio.Event()

    async def make(turn: TurnContext) -> str:
        await answer_is_there.wait()
        turn.usage.add(model="small", prompt_tokens=3, completion_tokens=2)
        return "At last"

    entitled(make)
    assert await answered(client) == ["/tokens 20 5"]
    answer_is_there.set()
    await becomes("At last")
    assert (await TokenUsage.objects.aget()).model_breakdown.keys() == {"demo"}


@pytest.mark.parametrize("made", ["", " \n ", None, 7, ValueError("sk-secret"), "hangs"], ids=repr)
async def test_a_title_that_comes_to_nothing_leaves_the_cut_text_and_the_answer(
    client: Client, entitled: Callable[..., None], settings: Any, made: Any, caplog: pytest.LogCaptureFixture
) -> None:
    over = asyncio.Event()

    async def make(turn: TurnContext) -> Any:
        try:
            if made == "hangs":
                await asyncio.Event().wait()
            if isinstance(made, Exception):
                raise made
            return made
        finally:
            over.set()

    settings.CHAT_TITLE_SECONDS = 0.05
    entitled(make)
    assert await answered(client) == ["/tokens 20 5"]
    await asyncio.wait_for(over.wait(), 5)
    assert await stored() == "/tokens 20 5"
    assert "sk-secret" not in caplog.text


async def test_a_title_that_no_column_could_hold_is_made_to_fit(client: Client, entitled: Callable[..., None]) -> None:
    async def make(turn: TurnContext) -> str:
        return "NUL \x00 and \ud800 " + "x" * 500

    entitled(make)
    told = await answered(client)
    assert told[-1] == await stored()
    assert 10 < len(told[-1]) <= 80


async def test_a_person_who_names_the_thread_while_the_agent_thinks_is_right(
    client: Client, entitled: Callable[..., None]
) -> None:
    named, over = asyncio.Event(), asyncio.Event()

    async def make(turn: TurnContext) -> str:
        await named.wait()
        over.set()
        return "The agent's"

    entitled(make)
    async with client.stream("POST", "/api/chat", said("t1", "/hang")) as stream:
        await stream.until("text-delta")
        assert (await client.request("PATCH", "/api/threads/t1/", {"title": "Mine"})).status == 200
        named.set()
        await over.wait()
        await client.request("POST", "/api/chat/t1/stop", {})
        rest = [event.chunk async for event in stream.events() if event.chunk]
    assert titles(rest) == []
    assert await stored() == "Mine"
