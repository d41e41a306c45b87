"""The end of a turn: everything closed, stored in one transaction, then shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chat.models import TurnStatus
from chat.protocol import sse
from chat.protocol.canonical import Canonical
from chat.protocol.fold import AssistantContentBuilder
from chat.protocol.usage import UsageMeter
from chat.store.crossing import in_thread_with_patience
from chat.store.finalize import Ended, finalize_assistant_turn
from chat.store.stream_log import LogRow
from chat.store.turns import StoredTurn
from chat.store.usage import UsageFigures
from chat.streams.hub import TurnStream
from chat.streams.writer import process_name, writer
from chat.telemetry import commit
from chat.turns import envelope
from chat.turns.late_usage import watch
from chat.turns.prices import load_list, reported
from chat.turns.timing import Stopwatch

BYTES_PER_TOKEN = 4  # what an estimate goes by when an agent reports no usage


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run came to its end."""

    status: TurnStatus
    error_code: str = ""
    error_text: str = ""


async def finish(
    turn: StoredTurn,
    outcome: Outcome,
    stream: TurnStream,
    canonical: Canonical,
    builder: AssistantContentBuilder,
    meter: UsageMeter,
    clock: Stopwatch,
) -> Ended:
    """Close what is open, store the end of the turn with the last of its log, and only then show it. ``Ended.NO``
    when somebody else ended the turn before, or took it over; then nothing was written.

    Raises Unavailable or one of ``store.sql.UNAVAILABLE`` when the database stays away for longer than
    CHAT_DATABASE_PATIENCE_SECONDS.
    """
    if outcome.status == TurnStatus.COMPLETED:
        closing = canonical.complete()
        finish_reason = canonical.finish_reason or "stop"
    elif outcome.status == TurnStatus.FAILED:
        closing = canonical.fail()
        finish_reason = "error"
    else:
        closing = canonical.stop()
        finish_reason = "other"
    for chunk in closing:
        builder.apply(chunk)
    await load_list(meter)
    usage, counted = figures(meter, builder), len(meter.calls)
    ending = envelope.ending(
        outcome.status,
        finish_reason=finish_reason,
        usage=shown(usage),
        error_code=outcome.error_code,
        error_text=outcome.error_text,
        extra={**(canonical.finish_metadata or {}), **taken(turn, usage), "timing": clock.told()},
    )
    for chunk in ending:
        builder.apply(chunk)
    first_seq, waiting = await writer().take(turn.pk)
    log = LogRow(turn.pk, turn.epoch, first_seq, [*waiting, *map(sse.encode, (*closing, *ending))])
    ended = await in_thread_with_patience(
        _store,
        turn,
        status=outcome.status,
        parts=builder.snapshot(),
        metadata=builder.metadata,
        usage=usage,
        log=log,
        process=process_name(),
        finish_reason=finish_reason,
        error_code=outcome.error_code,
        error_text=outcome.error_text,
    )
    if ended:
        stream.publish(log.first_seq, log.chunks)
        if usage.source != "reported":
            watch(turn, meter, counted)
    return ended


def _store(turn: StoredTurn, **ending: Any) -> Ended:
    with commit("finish"):
        return finalize_assistant_turn(turn, **ending)


def figures(meter: UsageMeter, builder: AssistantContentBuilder) -> UsageFigures:
    """The usage row of a turn: what its agent reported, else an estimate from what was streamed."""
    if meter.calls:
        return reported(meter)
    if builder.is_empty():
        return UsageFigures(source="missing")
    tokens = max(1, builder.stats()["bytes"] // BYTES_PER_TOKEN)
    return UsageFigures(source="estimated", completion_tokens=tokens, total_tokens=tokens)


def taken(turn: StoredTurn, usage: UsageFigures) -> dict[str, Any]:
    """What a message's metadata tells of its usage, and of the model that wrote it, where nobody had chosen one."""
    told: dict[str, Any] = {}
    if usage.source != "missing":
        told["usage"] = shown(usage)
    if named := {model: sums for model, sums in usage.model_breakdown.items() if model and not turn.model}:
        told["model"] = max(named, key=lambda model: named[model]["completion_tokens"])
    return told


def shown(usage: UsageFigures) -> dict[str, Any]:
    """What ``data-token-usage`` tells of a usage row."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cost_micros": usage.cost_micros,
        "source": usage.source,
    }
