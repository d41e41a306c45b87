"""Many who decide at once, or decide and stop: the first one stays, and everybody is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chat.models import TokenUsage, ToolApproval, Turn
from chat.testing.client import Client, Response
from chat.testing.held import held_at
from chat.testing.invariants import assert_database_is_sound
from tests.folded import assert_shown_is_stored
from tests.turns.waiting import decide, message_of, parked, pending, repost, responded, whole
from tests.ws.sockets import Socket, socket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
CLIENTS = 32
CHANGED = {"to": "ann@example.org"}
# What each of the ways says, as the outcome would be told.
SAID = {
    "approve": {"approved": True},
    "deny": {"approved": False},
    "change": {"approved": True, "input": CHANGED},
}
OUTCOMES: dict[str, dict[str, Any]] = {
    "approve": {"status": "approved"},
    "deny": {"status": "denied"},
    "change": {"status": "approved", "input": CHANGED},
}


async def test_of_32_clients_that_decide_in_every_way_one_outcome_is_told_to_all(client: Client) -> None:
    turn, first = await parked(client)
    (call,) = await pending(turn)
    message = await message_of(client, turn)
    start = asyncio.Barrier(CLIENTS)

    async def by_rest(word: str) -> Response:
        await start.wait()
        return await decide(client, turn, {"tool_call_id": call.tool_call_id, **SAID[word]})

    async def by_posting_again(word: str) -> Response:
        await start.wait()
        return await repost(client, responded(message, **SAID[word]))

    async def by_socket(word: str) -> dict[str, Any]:
        async with socket(client, f"/ws/threads/t1/?after={turn.pk}-{turn.last_seq}") as line:
            await start.wait()
            decision = {"tool_call_id": call.tool_call_id, **SAID[word]}
            await line.say({"approve": {"turn": turn.pk, "decisions": [decision]}, "ref": "mine"})
            return await answer_to(line, "mine")

    ways: list[tuple[Any, str]] = []
    for number in range(CLIENTS):
        way = (by_rest, by_posting_again, by_socket)[number % 3]
        words = ["approve", "deny"] if way is by_posting_again else list(SAID)
        ways.append((way, words[number // 3 % len(words)]))
    answers = await asyncio.gather(*(way(word) for way, word in ways))

    stored = await ToolApproval.objects.aget()
    outcome = {"status": stored.status} | ({"input": stored.changed_input} if stored.changed_input else {})
    assert outcome in OUTCOMES.values()
    chunks = await whole(client, turn)
    for (way, word), answer in zip(ways, answers, strict=True):
        error = told_error(answer)
        if way is by_posting_again and error is not None and error["code"] == "turn_ended":
            continue  # it came when all was over, and an SDK that posts by itself is not to do so again
        if OUTCOMES[word] == outcome:
            assert error is None, (way.__name__, word, error)
            if way is by_posting_again:
                assert answer.chunks() == chunks[len(first) :], "a stream of the new leg"
        else:
            assert error["code"] == "already_decided"
            assert error["outcome"] == {"tool_call_id": call.tool_call_id, **outcome}
    turn = await assert_shown_is_stored(chunks)
    assert (turn.status, turn.epoch) == ("completed", 2)
    await sync_to_async(assert_database_is_sound)()


async def answer_to(line: Socket, ref: str) -> dict[str, Any]:
    while (frame := await line.hear()) is not None:
        if frame.get("ref") == ref:
            return frame
    raise AssertionError(f"closed with {line.code}")


def told_error(answer: Any) -> Any:
    if isinstance(answer, dict):
        return answer.get("error")
    return answer.json()["error"] if answer.status != 200 else None


@pytest.mark.parametrize("number", range(8))
async def test_a_stop_and_an_approval_at_once_have_one_outcome(client: Client, number: int) -> None:
    turn, _ = await parked(client)
    (call,) = await pending(turn)
    approved, stopped = await asyncio.gather(
        decide(client, turn, {"tool_call_id": call.tool_call_id, "approved": True}),
        client.request("POST", f"/api/turns/{turn.pk}/stop"),
    )
    turn = await assert_shown_is_stored(await whole(client, turn))
    status = (await ToolApproval.objects.aget()).status
    if approved.status == 200:  # and the stop came too late, or for the leg that it began
        assert status == "approved"
        assert turn.status in ("completed", "stopped")
    else:
        assert (approved.status, approved.json()["error"]["code"]) == (409, "turn_ended")
        assert (status, turn.status) == ("withdrawn", "stopped")
    assert stopped.status in (200, 202)
    assert await TokenUsage.objects.acount() == 1
    await sync_to_async(assert_database_is_sound)()


async def test_a_turn_that_parks_when_its_stop_was_asked_for_is_stopped(client: Client) -> None:
    """The stop's news comes too late for the run: only the row knows of it. What the leg has used counts once."""
    with held_at("park:before") as (reached, released):
        sending = asyncio.create_task(client.send("t1", "/approve", "m1"))
        assert await asyncio.to_thread(reached.wait, 10)
        await Turn.objects.aupdate(stop_requested_at="2026-01-01T00:00:00Z")
        released.set()
        await sending
    for _ in range(500):
        turn = await Turn.objects.aget()
        if turn.status == "stopped":
            break
        await asyncio.sleep(0.01)
    await assert_shown_is_stored(await whole(client, turn))
    assert (await ToolApproval.objects.aget()).status == "withdrawn"
    usage = await TokenUsage.objects.aget()
    assert (usage.source, len(usage.call_details["calls"])) == ("reported", 1)
