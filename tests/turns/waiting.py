"""What tests of turns that wait share: reading what is asked, deciding, posting again as an AI SDK client does."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from chat.models import Message, ToolApproval, Turn
from chat.testing.client import Client, Response
from chat.testing.invariants import folded

Chunks = list[dict[str, Any]]


async def parked(client: Client, text: str = "/approve", thread: str = "t1", **keys: Any) -> tuple[Turn, Chunks]:
    """A turn that waits, and the chunks of its first leg."""
    chunks = (await client.send(thread, text, **keys)).chunks()
    turn = await turn_of(chunks)
    assert turn.status == "awaiting_approval"
    await assert_parked(turn, chunks)
    return turn, chunks


async def turn_of(chunks: Chunks) -> Turn:
    told = next(chunk for chunk in chunks if chunk["type"] == "data-turn")
    return await Turn.objects.aget(pk=told["data"]["turn"])


@sync_to_async(thread_sensitive=True)
def assert_parked(turn: Turn, chunks: Chunks) -> None:
    """What was shown so far is what is stored so far; each prefix is valid; nothing is held for the turn."""
    parts = Message.objects.get(thread_id=turn.thread_id, turn_id=turn.turn_id, role="assistant").parts
    assert folded(chunks, prefixes=True)[0] == parts
    assert (turn.heartbeat_at, turn.finished_at, turn.last_seq) == (None, None, len(chunks))


async def pending(turn: Turn) -> list[ToolApproval]:
    return [one async for one in ToolApproval.objects.filter(turn=turn, status="pending").order_by("pk")]


async def decide(client: Client, turn: Turn, *decisions: dict[str, Any]) -> Response:
    """Decide by REST. A decision without a call is on the first that waits."""
    if any("tool_call_id" not in one and "approval_id" not in one for one in decisions):
        (first, *_) = await pending(turn)
        decisions = tuple({"tool_call_id": first.tool_call_id, **one} for one in decisions)
    return await client.request("POST", f"/api/turns/{turn.pk}/approvals/", {"decisions": list(decisions)})


async def whole(client: Client, turn: Turn) -> Chunks:
    """All legs, from the first chunk."""
    return (await client.request("GET", f"/api/turns/{turn.pk}/stream")).chunks()


async def message_of(client: Client, turn: Turn, thread: str = "t1") -> dict[str, Any]:
    """The answer as an AI SDK client has it: from the history."""
    page = (await client.request("GET", f"/api/threads/{thread}/messages/")).json()
    (message,) = [one for one in page["results"] if (one["turn_id"], one["role"]) == (turn.turn_id, "assistant")]
    return {key: message[key] for key in ("id", "role", "parts", "metadata")}


def responded(message: dict[str, Any], approved: bool, **approval: Any) -> dict[str, Any]:
    """The message after ``addToolApprovalResponse`` for every call that asks."""
    return {
        **message,
        "parts": [
            {**part, "state": "approval-responded", "approval": {**part["approval"], "approved": approved, **approval}}
            if part.get("state") == "approval-requested"
            else part
            for part in message["parts"]
        ],
    }


def answered(message: dict[str, Any], **result: Any) -> dict[str, Any]:
    """The message after ``addToolOutput`` for every call that the client runs."""
    return {
        **message,
        "parts": [{**part, **result} if part.get("state") == "input-available" else part for part in message["parts"]],
    }


async def repost(client: Client, message: dict[str, Any], thread: str = "t1", **keys: Any) -> Response:
    body = {"id": thread, "messages": [message], "trigger": "submit-message", "messageId": message["id"], **keys}
    return await client.request("POST", "/api/chat", body)
