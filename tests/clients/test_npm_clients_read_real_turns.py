"""The recorded bytes of real turns, read by the AI SDK's own clients: what they hold is what is stored."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chat.models import Message
from chat.streams.hub import find_stream
from chat.testing.client import Client, said
from tests.clients.oracle import NpmClients, expected, without_decisions
from tests.turns.waiting import decide, parked

pytestmark = [
    pytest.mark.node,
    pytest.mark.timeout(300),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("drained"),
]


async def assert_clients_hold_what_is_stored(
    npm_clients: NpmClients, body: bytes, *, errors: list[str] | None = None, approvals: bool = False
) -> None:
    """A 5.x client takes no stream with ``approvals``."""
    answer = await Message.objects.filter(role="assistant").alatest("id")
    verdicts = await sync_to_async(npm_clients.read)(body, answer.parts or None)
    for version, verdict in verdicts.items():
        if approvals and version == "ai-5":
            continue
        assert verdict.errors == (errors or []), version
        assert verdict.id == str(answer.pk), version
        assert without_decisions(verdict.parts) == expected(answer.parts, version), version
        assert verdict.metadata == answer.metadata, version
        assert verdict.history is None or not answer.parts, version


@pytest.mark.parametrize("command", ["Hello", "/tokens 300 0", "/think", "/tool", "/approve"])
async def test_a_completed_turn(client: Client, npm_clients: NpmClients, command: str) -> None:
    body = (await client.send("t1", command)).body
    await assert_clients_hold_what_is_stored(npm_clients, body, approvals=command == "/approve")


@pytest.mark.parametrize(
    "decision", [{"approved": True}, {"approved": False}, {"approved": True, "input": {"to": "x"}}]
)
async def test_a_turn_of_two_legs_replayed_as_one(
    client: Client, npm_clients: NpmClients, decision: dict[str, Any]
) -> None:
    turn, _ = await parked(client)
    await decide(client, turn, decision)
    body = (await client.request("GET", f"/api/turns/{turn.pk}/stream")).body
    await assert_clients_hold_what_is_stored(npm_clients, body, approvals=True)


@pytest.mark.parametrize("result", [{"output": "Europe/Zurich"}, {"error": "No."}])
async def test_a_turn_with_a_tool_that_the_client_runs(
    client: Client, npm_clients: NpmClients, result: dict[str, str]
) -> None:
    turn, _ = await parked(client, "/where")
    await decide(client, turn, result)
    body = (await client.request("GET", f"/api/turns/{turn.pk}/stream")).body
    await assert_clients_hold_what_is_stored(npm_clients, body)


async def test_a_failed_turn(client: Client, npm_clients: NpmClients) -> None:
    body = (await client.send("t1", "/fail 3")).body
    errors = ["The demo agent failed, as you asked."]
    await assert_clients_hold_what_is_stored(npm_clients, body, errors=errors)


async def test_a_stopped_turn(client: Client, npm_clients: NpmClients) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang")) as stream:
        pieces = stream.pieces()
        body = await anext(pieces)
        while b"text-delta" not in body:
            body += await anext(pieces)
        await client.request("POST", "/api/chat/t1/stop")
        async for piece in pieces:
            body += piece
    await assert_clients_hold_what_is_stored(npm_clients, body)


@pytest.mark.parametrize("command", ["/tool", "/think", "/fail 3"])
async def test_a_turn_that_is_replayed_from_its_stored_parts(
    client: Client, npm_clients: NpmClients, command: str, settings: Any
) -> None:
    settings.CHAT_STREAM_LINGER_SECONDS = 0
    turn = (await client.send("t1", command, "m1")).chunks()[1]["data"]["turn"]
    while find_stream(turn):
        await asyncio.sleep(0.01)
    body = (await client.send("t1", command, "m1")).body
    errors = ["The demo agent failed, as you asked."] if command.startswith("/fail") else None
    await assert_clients_hold_what_is_stored(npm_clients, body, errors=errors)


@pytest.mark.parametrize("robot", ["Busy", "Careful", "made"])
async def test_a_turn_of_a_pydantic_ai_agent(
    client: Client, npm_clients: NpmClients, settings: Any, robot: str
) -> None:
    settings.CHAT_PYDANTIC_AGENT = f"tests.agents.robots.{robot}"
    body = (await client.send("t1", "Hello")).body
    await assert_clients_hold_what_is_stored(npm_clients, body, approvals=robot == "Careful")


async def test_a_turn_whose_tool_raised(client: Client, npm_clients: NpmClients, settings: Any) -> None:
    settings.CHAT_PYDANTIC_AGENT = "tests.agents.robots.Tester"
    body = (await client.send("t1", "Hello")).body
    await assert_clients_hold_what_is_stored(npm_clients, body, errors=["The assistant could not answer."])
