"""The demo agent: needs no network and no key. What a newcomer and the tests talk to.

========================  ==============================================================
``/tokens N [MS]``        streams ``w1 w2 … wN`` with MS milliseconds between (default 20)
``/think``                reasons before it answers
``/tool``                 calls a tool and tells its result
``/approve``              calls a tool that wants approval
``/fail [N]``             fails, after N tokens
``/hang``                 says a word and never comes to an end: for the stop button
anything else             answers in plain words
========================  ==============================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from chat.agents.base import AgentError, TurnContext
from chat.protocol.chunks import Chunk

MODEL = "demo"
MOST_TOKENS = 100_000
HELP = (
    "I am the demo agent: I live in this process and know no network. "
    "Try /tokens 50, /think, /tool, /approve, /fail 5 or /hang, and reload while I talk."
)


class DemoFailure(AgentError):
    code = "demo_failure"
    message = "The demo agent failed, as you asked."


class DemoAgent:
    async def run(self, turn: TurnContext) -> AsyncIterator[Chunk]:
        words = turn.text.split()
        spoken = 0
        try:
            async for chunk in self._answer(words, turn):
                spoken += chunk["type"] in ("text-delta", "reasoning-delta")
                yield chunk
        finally:
            # A demo token is a streamed piece, a demo prompt token a word of the history.
            asked = sum(map(_words, turn.history))
            turn.usage.add(model=MODEL, prompt_tokens=asked, completion_tokens=spoken, cost_micros=0)

    def _answer(self, words: list[str], turn: TurnContext) -> AsyncIterator[Chunk]:
        match words:
            case ["/tokens", *numbers]:
                return _tokens(_number(numbers, 0, 50), _number(numbers, 1, 20) / 1000)
            case ["/think", *_]:
                return _think()
            case ["/tool", *_]:
                return _tool()
            case ["/approve", *_]:
                return _approve(turn)
            case ["/fail", *numbers]:
                return _fail(_number(numbers, 0, 0))
            case ["/hang", *_]:
                return _hang()
        return _plain(turn)


async def _text(pieces: list[str], pause: float, block: str = "answer") -> AsyncIterator[Chunk]:
    yield {"type": "text-start", "id": block}
    for piece in pieces:
        yield {"type": "text-delta", "id": block, "delta": piece}
        await asyncio.sleep(pause)
    yield {"type": "text-end", "id": block}


async def _plain(turn: TurnContext) -> AsyncIterator[Chunk]:
    said = " ".join(turn.text.split())[:200]
    sentence = f"You said: {said} " + HELP if said else HELP
    async for chunk in _text([word + " " for word in sentence.split()], 0.02):
        yield chunk


async def _tokens(count: int, pause: float) -> AsyncIterator[Chunk]:
    async for chunk in _text([f"w{number} " for number in range(1, min(count, MOST_TOKENS) + 1)], pause):
        yield chunk


async def _think() -> AsyncIterator[Chunk]:
    yield {"type": "reasoning-start", "id": "thought"}
    for word in [
        "The",
        "user",
        "wants",
        "to",
        "see",
        "me",
        "think.",
        "I",
        "count",
        "to",
        "three:",
        "one,",
        "two,",
        "three.",
    ]:
        yield {"type": "reasoning-delta", "id": "thought", "delta": word + " "}
        await asyncio.sleep(0.02)
    yield {"type": "reasoning-end", "id": "thought"}
    async for chunk in _text(["I ", "have ", "thought ", "about ", "it."], 0.02):
        yield chunk


async def _tool() -> AsyncIterator[Chunk]:
    async for chunk in _text(["Let ", "me ", "look ", "at ", "the ", "clock. "], 0.02, "before"):
        yield chunk
    call = {"toolCallId": "clock-1", "toolName": "clock"}
    yield {"type": "tool-input-start", **call}
    for piece in ('{"zone":', ' "UTC"}'):
        yield {"type": "tool-input-delta", "toolCallId": call["toolCallId"], "inputTextDelta": piece}
        await asyncio.sleep(0.02)
    yield {"type": "tool-input-available", **call, "input": {"zone": "UTC"}}
    await asyncio.sleep(0.2)
    now = datetime.now(UTC).strftime("%H:%M:%S")
    yield {"type": "tool-output-available", "toolCallId": call["toolCallId"], "output": {"time": now}}
    yield {"type": "finish-step"}
    yield {"type": "start-step"}
    async for chunk in _text(["It ", "is ", f"{now} ", "in ", "UTC."], 0.02, "after"):
        yield chunk


async def _approve(turn: TurnContext) -> AsyncIterator[Chunk]:
    call = {"toolCallId": f"mail-{turn.turn_id}", "toolName": "send_mail"}
    yield {"type": "tool-input-available", **call, "input": {"to": "someone@example.org", "subject": "Hello"}}
    yield {
        "type": "tool-approval-request",
        "approvalId": call["toolCallId"],
        "toolCallId": call["toolCallId"],
    }


async def _fail(after: int) -> AsyncIterator[Chunk]:
    async for chunk in _text([f"w{number} " for number in range(1, after + 1)], 0.02):
        yield chunk
    raise DemoFailure


async def _hang() -> AsyncIterator[Chunk]:
    yield {"type": "text-start", "id": "answer"}
    yield {"type": "text-delta", "id": "answer", "delta": "Hanging … "}
    await asyncio.Event().wait()


def _number(words: list[str], place: int, default: int) -> int:
    try:
        return max(0, int(words[place]))
    except (IndexError, ValueError):
        return default


def _words(message: dict[str, Any]) -> int:
    return sum(len(part["text"].split()) for part in message["parts"] if part["type"] == "text")


agent = DemoAgent()
