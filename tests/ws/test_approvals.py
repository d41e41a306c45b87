"""A turn that waits, as a socket tells it: parked, decided on, going on."""

from __future__ import annotations

import pytest

from chat.testing.client import Client
from tests.folded import assert_shown_is_stored
from tests.turns.waiting import decide, parked, pending, whole
from tests.ws.sockets import PATH, chunks_of, socket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def test_a_second_tab_learns_of_the_park_of_each_decision_and_of_the_going_on(client: Client) -> None:
    await client.send("t1", "/tokens 1 0", "m0")
    async with socket(client, PATH) as tab:
        turn, first = await parked(client, "/approve 2", message_id="m1")
        frames = await tab.until(turn_id="m1", status="awaiting_approval")
        assert chunks_of(frames) == first, "the leg's chunks come before the news that it waits"
        one, two = frames[-1]["turn"]["approvals"]
        assert (one["tool_name"], one["kind"], one["input"]["to"]) == ("send_mail", "approval", "friend1@example.org")
        await decide(client, turn, {"tool_call_id": one["tool_call_id"], "approved": True})
        frames += (news := await tab.until(turn_id="m1"))
        assert [call["tool_call_id"] for call in news[-1]["turn"]["approvals"]] == [two["tool_call_id"]]
        await decide(client, turn, {"tool_call_id": two["tool_call_id"], "approved": False})
        frames += await tab.until(turn_id="m1", status="streaming")
        frames += await tab.until(turn_id="m1", status="completed")
    assert chunks_of(frames) == await whole(client, turn)
    await assert_shown_is_stored(chunks_of(frames))


async def test_a_tab_that_joins_behind_what_it_has_read_is_told_only_what_follows(client: Client) -> None:
    turn, first = await parked(client)
    cursor = (await client.request("GET", "/api/threads/t1/state/")).json()["cursor"]
    (call,) = await pending(turn)
    decision = {"tool_call_id": call.tool_call_id, "approved": True}
    async with socket(client, f"{PATH}?after={cursor}") as tab:
        await tab.until(status="awaiting_approval")
        await tab.say({"approve": {"turn": turn.pk, "decisions": [decision]}, "ref": 7})
        frames = await tab.until(status="completed")
    (answer,) = [frame for frame in frames if frame.get("ref") == 7]
    assert answer["approve"]["status"] == "streaming"
    assert [*first, *chunks_of(frames)] == await whole(client, turn)


async def test_a_tab_without_a_cursor_is_told_all_of_a_waiting_turn(client: Client) -> None:
    turn, _ = await parked(client)
    async with socket(client, PATH) as tab:
        frames = await tab.until(status="awaiting_approval")
        await decide(client, turn, {"approved": True})
        frames += await tab.until(status="completed")
    await assert_shown_is_stored(chunks_of(frames))


async def test_a_stop_of_a_waiting_turn_is_told(client: Client) -> None:
    turn, _ = await parked(client)
    async with socket(client, PATH) as tab:
        await tab.until(status="awaiting_approval")
        await tab.say({"stop": {}, "ref": 1})
        frames = await tab.until(status="stopped")
    assert [frame["stop"] for frame in frames if frame.get("ref") == 1] in ([{"turn": turn.pk}], [])
    assert chunks_of(frames)[-1] == {"type": "abort"}


async def test_another_thread_s_turn_is_not_decided_on(client: Client) -> None:
    turn, _ = await parked(client, thread="t2")
    (call,) = await pending(turn)
    await client.send("t1", "/tokens 1 0")
    async with socket(client, PATH) as tab:
        decision = {"tool_call_id": call.tool_call_id, "approved": True}
        await tab.say({"approve": {"turn": turn.pk, "decisions": [decision]}})
        answer = await tab.hear()
    assert answer
    assert answer["error"]["code"] == "turn_not_found"
