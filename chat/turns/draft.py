"""The answer of a turn as far as it is written: what has been said, what it has cost, and how to go on with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from chat.models import ApprovalStatus, TurnStatus
from chat.protocol.canonical import Canonical
from chat.protocol.chunks import Chunk, Part
from chat.protocol.fold import AssistantContentBuilder
from chat.protocol.tool_calls import ASKED
from chat.protocol.usage import UsageMeter
from chat.store.approvals import Progress, WaitingCall
from chat.store.turns import StoredTurn
from chat.store.usage import UsageFigures
from chat.turns.prices import reported
from chat.turns.timing import Stopwatch

BYTES_PER_TOKEN = 4  # what an estimate goes by when an agent reports no usage

# Finish reasons with which an answer was cut off: nobody is to run what it has called.
CUT_OFF = frozenset({"length", "content-filter", "error"})


class Draft:
    """The agent's chunks in canonical order, their fold, and the calls of the model, over all legs of a turn.

    ``answer`` are the parts that an agent is told which goes on: those of the earlier legs, with the decisions. Empty
    in the first leg.
    """

    def __init__(self) -> None:
        self.canonical = Canonical()
        self.builder = AssistantContentBuilder()
        self.meter = UsageMeter()
        self.clock = Stopwatch()
        self.answer: list[Part] = []
        self._calls = self._bytes = 0  # of the legs before

    @classmethod
    def resumed(cls, turn: StoredTurn, progress: Progress) -> Draft:
        """The state after all that is stored."""
        self = cls()
        chunks = [orjson.loads(chunk) for chunk in progress.log]
        self.apply(chunks[: turn.last_seq])  # the legs before, of which the usage tells
        if progress.usage is not None:
            self.meter.calls += _calls_of(progress.usage, turn.model)
            self._calls, self._bytes = len(self.meter.calls), self._size()
        self.apply(chunks[turn.last_seq :])
        self.canonical = Canonical.resume(chunks)
        decided = {call.call: call for call in progress.calls}
        self.answer = [_told(part, decided.get(part.get("toolCallId", ""))) for part in self.builder.snapshot()]
        return self

    def apply(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            self.builder.apply(chunk)

    def feed(self, raw: object) -> list[Chunk]:
        """What an agent yields, as chunks of the log."""
        chunks = self.canonical.feed(raw)
        if chunks:
            self.clock.spoke()
            self.apply(chunks)
        return chunks

    def decided(self, calls: Iterable[WaitingCall]) -> list[Chunk]:
        """The chunks that tell what was decided on calls and is not in the log yet. The engine tells it, not the agent:
        a denial holds whatever the agent does.
        """
        chunks: list[Chunk] = []
        for call in calls:
            named = {"toolCallId": call.call}
            if call.status == ApprovalStatus.APPROVED:
                chunks += self.canonical.allow(call.call, call.changed_input)
            elif call.status == ApprovalStatus.DENIED:
                chunks += self.canonical.feed({"type": "tool-output-denied", **named})
            elif call.status == ApprovalStatus.ANSWERED and call.error:
                chunks += self.canonical.feed({"type": "tool-output-error", "errorText": call.error, **named})
            elif call.status == ApprovalStatus.ANSWERED:
                chunks += self.canonical.feed({"type": "tool-output-available", "output": call.output, **named})
        self._apply_ours(chunks)
        return chunks

    def closed(self, status: TurnStatus) -> tuple[list[Chunk], str]:
        """The chunks that close what is open at an end of this kind, and the finish reason."""
        if status == TurnStatus.COMPLETED:
            closing, finish_reason = self.canonical.complete(), self.canonical.finish_reason or "stop"
        elif status == TurnStatus.AWAITING_APPROVAL:
            closing, finish_reason = self.canonical.park(), "tool-calls"
        elif status == TurnStatus.FAILED:
            closing, finish_reason = self.canonical.fail(), "error"
        else:
            closing, finish_reason = self.canonical.stop(), "other"
        self._apply_ours(closing)
        return closing, finish_reason

    @property
    def waits(self) -> bool:
        """Whether the agent, which came to its end, has left calls to a person or to the client."""
        return bool(self.canonical.unanswered) and self.canonical.finish_reason not in CUT_OFF

    def asked(self) -> list[dict[str, Any]]:
        """The calls that wait, as ``store.finalize`` takes them."""
        inputs = {part["toolCallId"]: part["input"] for part in self.builder.snapshot() if "input" in part}
        return [
            {
                "id": call.id,
                "approval": call.approval,
                "name": call.name,
                "kind": "approval" if call.state == ASKED else "output",
                "input": inputs.get(call.id),
            }
            for call in self.canonical.unanswered
        ]

    def figures(self, model: str = "") -> UsageFigures:
        """The usage row: what the agent reported, else an estimate from what was streamed, leg by leg. What the title
        took counts beside either.
        """
        if self.meter.tells_of_answer(since=self._calls):
            return reported(self.meter)
        tokens = (self._size() - self._bytes) // BYTES_PER_TOKEN
        if not self._calls:
            tokens = 0 if self.builder.is_empty() else max(1, tokens)
        if self.meter.calls:  # of the legs before, or of the title, something is known
            meter = UsageMeter(list(self.meter.calls))
            if tokens > 0 or not self._calls:
                meter.add(model=model, completion_tokens=tokens, estimated=True)
            return reported(meter)
        if not tokens:
            return UsageFigures(source="missing")
        return UsageFigures(source="estimated", completion_tokens=tokens, total_tokens=tokens)

    def _apply_ours(self, chunks: list[Chunk]) -> None:
        """Chunks of a later leg that no model has written."""
        before = self._size() if self._calls else 0
        self.apply(chunks)
        if self._calls:
            self._bytes += self._size() - before

    def _size(self) -> int:
        return self.builder.stats()["bytes"]


def _calls_of(usage: UsageFigures, model: str) -> list[dict[str, Any]]:
    """The calls that a usage row tells of; of an estimate without any, one that is as large."""
    if calls := usage.call_details.get("calls"):
        return list(calls)
    meter = UsageMeter()
    if usage.total_tokens:
        meter.add(
            model=model,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            total_tokens=usage.total_tokens,
            estimated=True,
        )
    return meter.calls


def _told(part: Part, call: WaitingCall | None) -> Part:
    """A part of the answer so far, as the agent that goes on is told it."""
    if call is None:
        return part
    if call.status == ApprovalStatus.ANSWERED:
        if call.error:
            return {**part, "state": "output-error", "errorText": call.error}
        return {**part, "state": "output-available", "output": call.output}
    if call.status not in (ApprovalStatus.APPROVED, ApprovalStatus.DENIED):
        return part
    approval = {**part["approval"], "approved": call.status == ApprovalStatus.APPROVED}
    if call.reason:
        approval["reason"] = call.reason
    if call.changed_input is not None:
        approval["input"] = call.changed_input
    # In an earlier leg it may have got its output.
    state = "approval-responded" if part["state"] == "approval-requested" else part["state"]
    return {**part, "state": state, "approval": approval}
