"""The end of a turn, or of a leg: everything closed, stored in one transaction, then shown."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chat.models import TurnStatus
from chat.protocol import sse
from chat.store.crossing import in_thread_with_patience
from chat.store.finalize import Ended, finalize_assistant_turn
from chat.store.stream_log import LogRow
from chat.store.turns import StoredTurn
from chat.store.usage import UsageFigures
from chat.streams.hub import TurnStream
from chat.streams.writer import process_name, writer
from chat.telemetry import Fields, commit, event, measure
from chat.turns import envelope
from chat.turns.draft import Draft
from chat.turns.late_usage import watch
from chat.turns.prices import load_list

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run came to its end."""

    status: TurnStatus
    error_code: str = ""
    error_text: str = ""


async def finish(turn: StoredTurn, outcome: Outcome, stream: TurnStream, draft: Draft) -> Ended:
    """Close what is open, store the end of the turn with the last of its log, and only then show it. ``Ended.NO``
    when somebody else ended the turn before, or took it over; then nothing was written.

    A turn whose agent came to its end, and left calls to a person or to the client, parks: the leg ends for its
    readers, the calls stay as they are, and nothing is held for it.

    Raises Unavailable or one of ``store.sql.UNAVAILABLE`` when the database stays away for longer than
    CHAT_DATABASE_PATIENCE_SECONDS.
    """
    status = outcome.status
    if status == TurnStatus.COMPLETED and draft.waits:
        status = TurnStatus.AWAITING_APPROVAL
    closing, finish_reason = draft.closed(status)
    await load_list(draft.meter)
    counted = len(draft.meter.calls)  # first: what another thread notes meanwhile is late, and not lost
    usage = draft.figures(turn.model)
    timing = draft.clock.told()
    ending = envelope.ending(
        status,
        finish_reason=finish_reason,
        usage=shown(usage),
        error_code=outcome.error_code,
        error_text=outcome.error_text,
        extra={**(draft.canonical.finish_metadata or {}), **taken(turn, usage), "timing": timing},
    )
    draft.apply(ending)
    first_seq, waiting = await writer().take(turn.pk)
    log = LogRow(turn.pk, turn.epoch, first_seq, [*waiting, *map(sse.encode, (*closing, *ending))])
    ended = await in_thread_with_patience(
        _store,
        turn,
        status=status,
        parts=draft.builder.snapshot(),
        metadata=draft.builder.metadata,
        usage=usage,
        log=log,
        process=process_name(),
        finish_reason=finish_reason,
        error_code=outcome.error_code,
        error_text=outcome.error_text,
        asked=draft.asked() if status == TurnStatus.AWAITING_APPROVAL else (),
    )
    if ended:
        stream.publish(log.first_seq, log.chunks)
        tell_end(turn, status, usage, outcome.error_code, timing)
        if usage.source != "reported":
            watch(turn, draft.meter, counted)
    return ended


def _store(turn: StoredTurn, *, status: TurnStatus, **ending: Any) -> Ended:
    if status == TurnStatus.AWAITING_APPROVAL:
        with commit("park"):
            return finalize_assistant_turn(turn, status=status, **ending)
    with commit("finish"):
        return finalize_assistant_turn(turn, status=status, **ending)


def tell_end(
    turn: StoredTurn, status: TurnStatus, usage: UsageFigures, code: str, timing: Mapping[str, Any] | None = None
) -> None:
    """Tell the log and the figures of a turn that this process has ended, or parked; ``timing`` of one that ran here,
    as its ``Stopwatch`` told it.
    """
    is_parked = status == TurnStatus.AWAITING_APPROVAL
    timing = timing or {}
    told: Fields = {
        "turn": turn.pk,
        "conversation": turn.conversation,
        "status": status.value,
        "code": code,
        "total_tokens": usage.total_tokens,
    }
    if "duration_ms" in timing:
        told["milliseconds"] = timing["duration_ms"]
        measure("chat_run_seconds", timing["duration_ms"] / 1000)
    if "first_chunk_ms" in timing:
        told["first_chunk_ms"] = timing["first_chunk_ms"]
        measure("chat_first_chunk_seconds", timing["first_chunk_ms"] / 1000)
    record = event("turn_parked" if is_parked else "turn_ended", **told)
    logger.info("turn %s is %s", turn.pk, status.label.lower(), extra=record)
    if not is_parked:
        measure("chat_turns_ended_total", status=status.value)


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
