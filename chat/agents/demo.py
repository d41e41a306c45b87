"""The demo agent: needs no network and no key. What a newcomer and the tests talk to.

========================  ==============================================================
``/tokens N [MS]``        streams ``w1 w2 … wN`` with MS milliseconds between (default 20)
``/think``                reasons before it answers
``/tool``                 calls a tool and tells its result
``/approve [N]``          wants to send N mails (1), and waits until a person has approved or denied each
``/where``                asks the client for its time zone, with a tool that the client runs
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
MOST = 100_000  # of whatever is asked for: anybody may write any number
MOST_MAILS = 20
HELP = (
    "I am the demo agent: I live in this process and know no network. "
    "Try /tokens 50, /think, /tool, /approve, /where, /fail 5 or /hang, and reload while I talk."
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
            case ["/approve", *numbers]:
                return _mails_sent(turn) if turn.answer else _approve(turn, _number(numbers, 0, 1))
            case ["/where", *_]:
                return _placed(turn) if turn.answer else _where(turn)
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
    async for chunk in _text([f"w{number} " for number in range(1, count + 1)], pause):
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


async def _approve(turn: TurnContext, mails: int) -> AsyncIterator[Chunk]:
    async for chunk in _text(["May ", "I ", "send ", "this? "], 0.02, "before"):
        yield chunk
    for number in range(1, max(1, min(mails, MOST_MAILS)) + 1):
        call = f"mail-{number}-{turn.turn_id}"
        mail = {"to": f"friend{number}@example.org", "subject": "Hello"}
        yield {"type": "tool-input-available", "toolCallId": call, "toolName": "send_mail", "input": mail}
        yield {"type": "tool-approval-request", "toolCallId": call, "approvalId": f"approval-of-{call}"}


async def _mails_sent(turn: TurnContext) -> AsyncIterator[Chunk]:
    told: list[str] = []
    for part in turn.answer:
        if part.get("state") != "approval-responded":
            continue
        approval, mail = part["approval"], part["input"]
        if not approval["approved"]:
            told.append(f"Not sent to {mail['to']}: {approval.get('reason') or 'you did not want it'}.")
            continue
        changed = approval.get("input")
        to = str((changed or mail).get("to", "nobody"))[:200]
        await asyncio.sleep(0.05)
        yield {"type": "tool-output-available", "toolCallId": part["toolCallId"], "output": {"sent": True, "to": to}}
        told.append(f"Sent to {to}{', as you changed it' if changed else ''}.")
    async for chunk in _text([word + " " for word in " ".join(told).split()], 0.02, "after"):
        yield chunk


async def _where(turn: TurnContext) -> AsyncIterator[Chunk]:
    call = {"toolCallId": f"zone-{turn.turn_id}", "toolName": "browser_time_zone"}
    yield {"type": "tool-input-available", **call, "input": {}}


async def _placed(turn: TurnContext) -> AsyncIterator[Chunk]:
    (part,) = [part for part in turn.answer if "toolCallId" in part]
    zone = part.get("output")
    told = (
        f"Your clock runs on {zone} time." if isinstance(zone, str) and zone else "You did not tell me where you are."
    )
    async for chunk in _text([word + " " for word in told[:200].split()], 0.02, "after"):
        yield chunk


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
        return max(0, min(int(words[place]), MOST))
    except (IndexError, ValueError):
        return default


def _words(message: dict[str, Any]) -> int:
    return sum(len(part["text"].split()) for part in message["parts"] if part["type"] == "text")


agent = DemoAgent()
