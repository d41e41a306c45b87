"""Figures of a provider that come when the turn has ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chat.agents.base import TurnContext
from chat.models import QuotaCounter, TokenUsage, TurnStatus
from chat.protocol.usage import UsageMeter
from chat.store.scope import Scope
from chat.store.threads import open_thread
from chat.store.usage import UsageFigures, settle_usage
from chat.testing.client import Client, said
from chat.turns.late_usage import settle
from tests.factories import UserFactory
from tests.races import race
from tests.store.test_turns import begin, finish

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
ESTIMATE = UsageFigures(source="estimated", completion_tokens=5, total_tokens=5)
REPORTED = UsageFigures(source="reported", prompt_tokens=70, completion_tokens=30, total_tokens=100, cost_micros=9)


class Learns:
    """Is told what it used when nobody listens any more, and the test has looked: ``how`` and how often."""

    seen = threading.Event()
    how = "task"
    calls = 1
    guesses = False

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        yield {"type": "text-delta", "id": "1", "delta": "Well, "}
        try:
            await asyncio.Event().wait()
        finally:
            if self.guesses:
                turn.usage.add(model="gpt-4o", prompt_tokens=7)
                turn.usage.add(model="gpt-4o", prompt_tokens=999_999, estimated=True)
            if self.how == "task":
                tasks.append(asyncio.create_task(self.told(turn.usage)))
            else:
                threading.Thread(target=lambda: self.seen.wait(10) and self.report(turn.usage)).start()

    async def told(self, usage: UsageMeter) -> None:
        await asyncio.to_thread(self.seen.wait, 10)
        for _ in range(self.calls):
            await asyncio.sleep(0.1)
            self.report(usage)

    def report(self, usage: UsageMeter) -> None:
        usage.add(model="gpt-4o", provider="openai", prompt_tokens=1000, completion_tokens=10)


class LearnsAndTitles(Learns):
    async def title(self, turn: TurnContext) -> str:
        turn.usage.add(model="small", prompt_tokens=3, completion_tokens=2)
        return "Title"


tasks: list[asyncio.Task[None]] = []


async def stopped_turn(client: Client) -> TokenUsage:
    """The usage row of a turn that was stopped, once it is not an estimate any more."""
    Learns.seen.clear()
    async with client.stream("POST", "/api/chat", said("t1", "Hello", "m1")) as stream:
        await stream.until("text-delta")
        await client.request("POST", "/api/chat/t1/stop")
        await stream.until("abort")
    assert (await TokenUsage.objects.aget()).source == "estimated"
    Learns.seen.set()
    deadline = asyncio.get_running_loop().time() + 10
    while (usage := await TokenUsage.objects.aget()).source == "estimated":
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)
    return usage


@pytest.mark.parametrize("how", ["task", "thread"])
async def test_an_agent_that_learns_what_it_used_after_the_stop_settles_the_estimate(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    settings.CHAT_AGENT = f"{__name__}.Learns"
    monkeypatch.setattr(Learns, "how", how)
    usage = await stopped_turn(client)
    assert (usage.source, usage.total_tokens, usage.cost_micros) == ("reported", 1010, 2600)
    assert usage.call_details["calls"][0]["priced_by"] == "genai-prices"
    assert set(usage.model_breakdown) == {"gpt-4o"}
    page = (await client.request("GET", "/api/threads/t1/messages/")).json()
    assert page["results"][1]["usage"]["total_tokens"] == 1010


class Overlaps:
    """Learns what it used while its end is put together: when the price of its guess is looked up."""

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        yield {"type": "text-delta", "id": "1", "delta": "Well, "}
        turn.usage.add(model="a guess", completion_tokens=5, estimated=True)
        PriceOfAGuess.looked_up = lambda: turn.usage.add(model="gpt-4o", provider="openai", prompt_tokens=1000)


class PriceOfAGuess(dict[str, int]):
    looked_up: Callable[[], None] | None = None

    def get(self, kind: str, default: Any = None) -> Any:
        if (told := PriceOfAGuess.looked_up) is not None:
            PriceOfAGuess.looked_up = None
            told()
        return super().get(kind, default)


async def test_what_an_agent_learns_while_its_end_is_put_together_settles_the_estimate(
    client: Client, settings: Any
) -> None:
    settings.CHAT_AGENT = f"{__name__}.Overlaps"
    settings.CHAT_PRICES = {"a guess": PriceOfAGuess(input=1, output=2)}
    await client.send("t1", "Hello", "m1")
    async with asyncio.timeout(10):
        while (usage := await TokenUsage.objects.aget()).source == "estimated":
            await asyncio.sleep(0.05)
    assert (usage.source, usage.total_tokens, usage.cost_micros) == ("reported", 1000, 2500)


async def test_calls_that_come_late_one_by_one_are_gathered(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHAT_AGENT = f"{__name__}.Learns"
    monkeypatch.setattr(Learns, "calls", 3)
    assert (await stopped_turn(client)).total_tokens == 3 * 1010


async def test_what_the_provider_says_late_replaces_the_agents_guess_and_no_call_that_it_reported_in_time(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHAT_AGENT = f"{__name__}.Learns"
    monkeypatch.setattr(Learns, "guesses", True)
    usage = await stopped_turn(client)
    assert (usage.source, usage.total_tokens) == ("reported", 7 + 1010)
    assert len(usage.call_details["calls"]) == 2


async def test_what_the_title_took_stays_beside_what_the_provider_says_late(client: Client, settings: Any) -> None:
    settings.CHAT_AGENT = f"{__name__}.LearnsAndTitles"
    usage = await stopped_turn(client)
    assert (usage.source, usage.total_tokens, set(usage.model_breakdown)) == ("reported", 1015, {"small", "gpt-4o"})


async def test_a_guess_settles_nothing_and_a_title_does_not_either(asker: Scope) -> None:
    meter, title = UsageMeter(), UsageMeter()
    meter.add(prompt_tokens=5, estimated=True)
    title.add(prompt_tokens=5)
    meter.add_of_title(title)
    assert not await settle(1, meter)


@pytest.mark.parametrize("source", ["estimated", "missing"])
def test_figures_that_come_later_replace_an_estimate_once_whoever_brings_them(asker: Scope, source: str) -> None:
    for number in range(10):
        turn = begin(asker, open_thread(asker, f"{source} {number}"))
        finish(turn, usage=UsageFigures(source=source))
        brought = [UsageFigures(source="reported", total_tokens=n + 1) for n in range(8)]
        results = race([lambda f=figures, t=turn: settle_usage(t.pk, f) for figures in brought])
        assert sum(map(bool, results)) == 1
        usage = TokenUsage.objects.get(turn_id=turn.pk)
        assert (usage.source, usage.total_tokens) == ("reported", results.index(True) + 1)


def test_what_a_provider_reported_in_time_stays(asker: Scope) -> None:
    turn = begin(asker, open_thread(asker, "thread"))
    assert not settle_usage(turn.pk, REPORTED), "it is not over"
    finish(turn)
    assert not settle_usage(turn.pk, REPORTED)
    assert TokenUsage.objects.get().total_tokens == 10
    assert not settle_usage(turn.pk + 1000, REPORTED)


def test_the_days_tokens_are_corrected_by_the_difference_and_those_of_another_day_are_not(
    asker: Scope, settings: Any
) -> None:
    settings.CHAT_QUOTA_TOKENS_A_DAY = 1_000_000
    turns = [begin(asker, open_thread(asker, f"thread {number}")) for number in range(3)]
    for turn in turns:
        finish(turn, usage=ESTIMATE)
    other = Scope(UserFactory.create().pk)
    finish(begin(other, open_thread(other, "thread 0")), usage=ESTIMATE)
    counter = QuotaCounter.objects.filter(user=asker.user_id)
    assert counter.get().tokens == 15
    assert settle_usage(turns[0].pk, REPORTED)
    assert counter.get().tokens == 110
    assert QuotaCounter.objects.get(user=other.user_id).tokens == 5
    assert TokenUsage.objects.filter(source="estimated").count() == 3, "the others are as they were"
    TokenUsage.objects.filter(turn_id=turns[1].pk).update(
        created_at=TokenUsage.objects.get(turn_id=turns[1].pk).created_at - timedelta(days=1)
    )
    assert settle_usage(turns[1].pk, REPORTED)
    assert counter.get().tokens == 110
    assert settle_usage(turns[2].pk, UsageFigures(source="reported"))
    assert counter.get().tokens == 105


async def test_another_process_may_bring_them(asker: Scope) -> None:
    def ended() -> int:
        turn = begin(asker, open_thread(asker, "thread"))
        finish(turn, usage=ESTIMATE, status=TurnStatus.STOPPED)
        return turn.pk

    turn = await sync_to_async(ended)()
    meter = UsageMeter()
    meter.add(model="gpt-4o", prompt_tokens=4)
    assert await settle(turn, meter)
    assert not await settle(turn, meter)
    usage = await TokenUsage.objects.aget()
    assert (usage.source, usage.total_tokens, usage.cost_micros) == ("reported", 4, 10)
