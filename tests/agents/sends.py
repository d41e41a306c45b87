"""A send through the whole engine to the model that a test's provider is, and what must hold of its turn."""

from __future__ import annotations

import json

from asgiref.sync import sync_to_async

from chat.models import Message, Turn
from chat.testing.client import Client
from chat.testing.invariants import assert_invariants
from tests.agents.provider import KEY, Exchange, piece, usage
from tests.folded import assert_shown_is_stored

STOP = piece(finish="stop")
WORDS = ("ANSWER: ", "naïve ", "日本語 ", "😀 ", "done.")
EVENTS = (piece("", role="assistant"), *map(piece, WORDS), STOP, usage())
RETRYABLE = {"model_unreachable", "model_rate_limited", "model_unavailable", "model_timed_out", "model_confused"}


async def whole_answer(exchange: Exchange) -> None:
    await exchange.stream(*EVENTS)


async def ask(client: Client) -> Turn:
    """Send a message, read the stream to its end, and check that what was shown is what is stored."""
    chunks = (await client.send("t1", "QUESTION")).chunks()
    turn = await assert_shown_is_stored(chunks)
    await sync_to_async(assert_invariants)()
    return turn


async def text_of(turn: Turn) -> str:
    message = await Message.objects.aget(turn_id=turn.turn_id, role="assistant")
    return "".join(part["text"] for part in message.parts if part["type"] == "text")


async def failed(client: Client, code: str) -> Turn:
    """The turn, which must fail with ``code``, in the database and for its readers."""
    turn = await ask(client)
    message = await Message.objects.aget(turn_id=turn.turn_id, role="assistant")
    assert (turn.status, turn.error_code, turn.finish_reason) == ("failed", code, "error")
    assert message.metadata["error_code"] == code
    assert message.metadata.get("error_retryable", False) == (code in RETRYABLE)
    assert KEY not in json.dumps([message.metadata, turn.error_text])
    return turn
