"""Pydantic AI agents through the whole engine: what was shown is what is stored, however the turn ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chat.models import Message, TokenUsage, Turn
from chat.testing.client import Client, said
from chat.testing.invariants import assert_database_is_sound, assert_invariants
from tests.agents import robots
from tests.folded import assert_shown_is_stored
from tests.turns.waiting import decide, parked, pending, whole

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


@pytest.fixture(params=["Busy", "Careful", "Tester", "Patient", "made"])
def robot(request: pytest.FixtureRequest, settings: Any) -> str:
    settings.CHAT_PYDANTIC_AGENT = f"tests.agents.robots.{request.param}"
    return str(request.param)


async def send(client: Client) -> tuple[Turn, list[dict[str, Any]]]:
    turn = await assert_shown_is_stored((await client.send("t1", "QUESTION")).chunks())
    await sync_to_async(assert_invariants)()
    parts: list[dict[str, Any]] = (await Message.objects.aget(turn_id=turn.turn_id, role="assistant")).parts
    return turn, parts


@pytest.mark.parametrize("robot", ["Busy"], indirect=True)
async def test_a_turn_with_every_kind_of_part_is_stored_as_it_was_shown(client: Client, robot: str) -> None:
    turn, parts = await send(client)
    user = (await Turn.objects.aget()).user_id
    assert turn.status == "completed"
    assert [part["type"] for part in parts] == [
        "step-start",
        "reasoning",
        "text",
        "tool-weather",
        "tool-flaky",
        "tool-broken",
        "tool-picture",
        "file",
        "source-url",
        "step-start",
        "tool-flaky",
        "step-start",
        "text",
    ]
    tools = {part["toolCallId"]: part for part in parts if "toolCallId" in part}
    assert tools["w1"]["output"] == {"city": "Zürich", "degrees": 7, "asked_by": user}
    assert "valid integer" in tools["flaky-1"]["errorText"]
    assert tools["broken-1"]["errorText"] == "The tool is broken."
    assert tools["flaky-2"]["output"] == "2 times"
    row = await TokenUsage.objects.aget()
    assert (row.source, len(row.call_details["calls"])) == ("reported", 3)


@pytest.mark.parametrize("robot", ["Busy"], indirect=True)
async def test_the_next_turn_tells_the_model_all_of_the_one_before(client: Client, robot: str) -> None:
    await send(client)
    before = [message for message in robots.asked if message.kind == "response"]
    await send(client)
    told = [message for message in robots.asked if message.kind == "response"][: len(before)]
    assert [part for message in told for part in message.parts] == [
        part for message in before for part in with_parsed_args(message.parts)
    ]


def with_parsed_args(parts: Any) -> list[Any]:
    for part in parts:
        if part.part_kind == "tool-call":
            part.args = part.args_as_dict()
    return list(parts)


@pytest.mark.parametrize("robot", ["Careful"], indirect=True)
async def test_tools_that_need_approval_wait_for_it_and_run_as_a_person_decides(client: Client, robot: str) -> None:
    waiting, _ = await parked(client, "QUESTION")
    assert [call.tool_call_id for call in await pending(waiting)] == ["mail-1", "mail-2"]
    changed = {"tool_call_id": "mail-1", "approved": True, "input": {"to": "anna"}}
    denied = {"tool_call_id": "mail-2", "approved": False, "reason": "no mail at night"}
    assert (await decide(client, waiting, changed, denied)).status == 200
    turn = await assert_shown_is_stored(await whole(client, waiting))
    parts: list[dict[str, Any]] = (await Message.objects.aget(turn_id=turn.turn_id, role="assistant")).parts
    tools = {part["toolCallId"]: part for part in parts if "toolCallId" in part}
    assert list(tools) == ["clock-1", "mail-1", "mail-2"]
    assert (tools["mail-1"]["input"], tools["mail-1"]["output"]) == ({"to": "anna"}, "sent to anna")
    assert tools["mail-2"]["state"] == "output-denied"
    assert tools["clock-1"]["output"] == "noon"
    assert "no mail at night" in parts[-1]["text"]
    row = await TokenUsage.objects.aget()
    assert (row.source, len(row.call_details["calls"])) == ("reported", 2)
    # The next turn tells the model what was really done.
    await client.send("t1", "QUESTION", "m2")
    assert {"to": "anna"} in [
        part.args for message in robots.asked for part in message.parts if part.part_kind == "tool-call"
    ]


@pytest.mark.parametrize("robot", ["Remote"], indirect=True)
@pytest.mark.parametrize("result", [{"output": {"city": "Bern"}}, {"error": "no idea"}])
async def test_a_tool_that_the_client_runs_waits_beside_one_that_needs_approval(
    client: Client, robot: str, result: dict[str, Any]
) -> None:
    waiting, _ = await parked(client, "QUESTION")
    assert [call.kind for call in await pending(waiting)] == ["output", "approval"]
    await decide(client, waiting, {"tool_call_id": "place-1", **result})
    await decide(client, waiting, {"tool_call_id": "mail-1", "approved": True})
    turn = await assert_shown_is_stored(await whole(client, waiting))
    parts: list[dict[str, Any]] = (await Message.objects.aget(turn_id=turn.turn_id, role="assistant")).parts
    assert turn.status == "completed"
    assert "sent to ann" in parts[-1]["text"]
    assert str(next(iter(result.values()))) in parts[-1]["text"]


@pytest.mark.parametrize("robot", ["Tester"], indirect=True)
async def test_a_tool_that_raises_fails_the_turn_without_telling_what_it_raised(client: Client, robot: str) -> None:
    turn, parts = await send(client)
    assert (turn.status, turn.error_code) == ("failed", "agent_error")
    assert parts[-1]["state"] == "output-error"
    assert "sk-secret" not in str(parts)


@pytest.mark.parametrize("robot", ["GivingUp"], indirect=True)
async def test_a_tool_that_cancels_the_run_stops_the_turn_and_what_it_told_before_is_kept(
    client: Client, robot: str
) -> None:
    turn, parts = await send(client)
    assert (turn.status, turn.error_code) == ("stopped", "")
    assert {"type": "data-looked", "data": {"places": 3}} in parts
    assert [part["state"] for part in parts if "state" in part] == ["output-available", "output-error"]


@pytest.mark.parametrize("robot", ["made"], indirect=True)
async def test_a_function_that_makes_an_agent_is_as_good_as_one(client: Client, robot: str) -> None:
    _, parts = await send(client)
    assert parts[-1]["text"] == "made"


@pytest.mark.parametrize("robot", ["Patient"], indirect=True)
async def test_a_stop_keeps_what_was_said_and_ends_within_a_second(client: Client, robot: str) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "QUESTION")) as stream:
        await stream.until("text-delta")
        before = asyncio.get_running_loop().time()
        await client.request("POST", "/api/chat/t1/stop")
        await stream.body()
        assert asyncio.get_running_loop().time() - before < 1
    (turn,) = await sync_to_async(assert_database_is_sound)()
    assert (turn.status, turn.text) == ("stopped", "Well, ")
    assert (await TokenUsage.objects.aget()).source in ("reported", "estimated")


async def test_a_model_alone_needs_no_line_of_code(client: Client, settings: Any) -> None:
    settings.CHAT_MODEL = "test"
    turn, parts = await send(client)
    assert (turn.status, turn.model) == ("completed", "test")
    assert parts[-1]["text"] == "success (no tool calls)"
