"""Agents for tests: each behaves in one way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from chat.agents.base import TurnContext

SECRET = "-".join(("sk", "secret"))


class Raises:
    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        yield {"type": "text-delta", "id": "1", "delta": "Well, "}
        raise ValueError(f"the key {SECRET} was refused")


class Silent:
    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        for chunk in ():
            yield chunk


class Mute:
    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        yield {"type": "text-delta", "id": "1", "delta": "I count nothing."}


class Complains:
    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        yield {"type": "text-delta", "id": "1", "delta": "Well, "}
        yield {"type": "error", "errorText": "out of luck"}


class Recalls:
    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        said = [
            f"{message['role']}:" + "".join(part.get("text", "") for part in message["parts"])
            for message in turn.history
        ]
        yield {"type": "text-delta", "id": "1", "delta": "|".join(said)}


class Says:
    """Yields what a test puts into ``chunks``, whatever that is."""

    chunks: list[Any] = []

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        for chunk in self.chunks:
            yield chunk


class Stalls:
    """Says a word, and then nothing any more."""

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        yield {"type": "text-delta", "id": "1", "delta": "Well, "}
        await asyncio.Event().wait()


class Stubborn:
    """Does not let itself be cancelled, and goes on talking, for two seconds."""

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        loop = asyncio.get_running_loop()
        ends = loop.time() + 2
        while loop.time() < ends:
            yield {"type": "text-delta", "id": "1", "delta": "No. "}
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.005)


class Trips:
    """Fails when it is cancelled."""

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        yield {"type": "text-delta", "id": "1", "delta": "Well, "}
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("over its own feet")


class Hurries:
    """As many chunks as the engine takes."""

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        for _ in range(2000):
            yield {"type": "text-delta", "id": "1", "delta": "x" * 500}


class Patient:
    """Says nothing for as long as it may."""

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        await asyncio.sleep(3600)
        yield {"type": "text-delta", "id": "1", "delta": "At last."}


class AsksTwice:
    """Asks about one call, then about another, then tells what was decided."""

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        calls = {part["toolCallId"]: part for part in turn.answer if "toolCallId" in part}
        turn.usage.add(model="asks", prompt_tokens=len(calls) + 1)
        if "second" in calls:
            verdicts = [
                f"{name} {'approved' if one['approval']['approved'] else 'denied'}" for name, one in calls.items()
            ]
            yield {"type": "text-delta", "id": "1", "delta": ", ".join(verdicts)}
            return
        if "first" in calls:
            yield {"type": "tool-output-available", "toolCallId": "first", "output": 1}
        name = "second" if calls else "first"
        yield {"type": "tool-input-available", "toolCallId": name, "toolName": "act", "input": {}}
        yield {"type": "tool-approval-request", "toolCallId": name, "approvalId": name}


class Paced:
    """Asks in its first leg and answers in its second; each says a word, and goes on when a test lets it."""

    events: tuple[asyncio.Event, ...] = ()

    async def run(self, turn: TurnContext) -> AsyncIterator[Any]:
        leg = 1 if turn.answer else 0
        if leg:
            yield {"type": "tool-output-available", "toolCallId": "call", "output": 1}
        yield {"type": "text-delta", "id": f"{leg}", "delta": "Well, "}
        await self.events[leg].wait()
        if leg:
            yield {"type": "text-delta", "id": f"{leg}", "delta": "done."}
        else:
            yield {"type": "tool-input-available", "toolCallId": "call", "toolName": "act", "input": {}}
            yield {"type": "tool-approval-request", "toolCallId": "call", "approvalId": "approval"}
