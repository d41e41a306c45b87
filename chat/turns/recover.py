"""Turns whose process is gone: ended from the fold of their log, so that nothing that was shown is lost."""

from __future__ import annotations

import logging
from dataclasses import replace

from chat import conf
from chat.models import ApprovalStatus, TurnStatus
from chat.protocol import sse
from chat.protocol.chunks import Chunk
from chat.store.approvals import read_progress
from chat.store.finalize import Ended, finalize_assistant_turn
from chat.store.leases import take_expired
from chat.store.stream_log import ANYBODY, LogRow
from chat.store.turns import StoredTurn
from chat.streams.writer import process_name
from chat.telemetry import commit, event, measure
from chat.turns import envelope
from chat.turns.draft import Draft
from chat.turns.finish import shown, taken, tell_end

logger = logging.getLogger(__name__)


def recover_expired(turn: int | None = None) -> list[int]:
    """End turns whose lease has run out (or this one, if its has) as ``interrupted``, some twenty at a time; returns
    their numbers.

    May be run by any process, any number of them at once, and again after dying half-way: a turn that was taken
    over and not ended expires again.
    """
    with commit("take"):
        expired = take_expired(conf.get("LEASE_SECONDS"), process_name(), turn=turn)
    ended = []
    for one in expired:
        try:
            if _end(one):
                ended.append(one.pk)
        except Exception as problem:  # it must not keep the others from their end, and expires again itself
            name = type(problem).__name__
            told = event("recovery_failed", turn=one.pk, conversation=one.conversation, problem=name)
            logger.error("turn %s could not be recovered: %s", one.pk, name, extra=told)
    return ended


def _end(turn: StoredTurn) -> Ended:
    with commit("recover"):
        ended = end_from_log(turn, TurnStatus.INTERRUPTED)
    if ended:
        told = event("turn_recovered", turn=turn.pk, conversation=turn.conversation)
        logger.warning("turn %s was recovered: its process is gone", turn.pk, extra=told)
        measure("chat_turns_recovered_total")
    return ended


def end_from_log(
    turn: StoredTurn,
    status: TurnStatus,
    *,
    undecided: ApprovalStatus | None = None,
    error_code: str = "",
    error_text: str = "",
) -> Ended:
    """End a turn that runs nowhere with what its log holds: as ``interrupted`` one whose process is gone, as
    ``stopped`` one that waited for decisions; what nobody decided is left ``undecided`` then.

    What was decided, and is not in the log, is told first.
    """
    progress = read_progress(turn.pk)
    draft = Draft.resumed(turn, progress)
    added: list[Chunk] = [] if progress.log else envelope.opening(turn)
    draft.apply(added)
    # Whether a changed input is in the log already cannot be told; the call does not run with it any more.
    added += draft.decided([replace(call, changed_input=None) for call in progress.calls])
    closing, finish_reason = draft.closed(status)
    usage = draft.figures(turn.model)
    ending = envelope.ending(
        status,
        finish_reason=finish_reason,
        usage=shown(usage),
        error_code=error_code,
        error_text=error_text,
        extra=taken(turn, usage),
    )
    draft.apply(ending)
    chunks = [sse.encode(chunk) for chunk in (*added, *closing, *ending)]
    ended = finalize_assistant_turn(
        turn,
        status=status,
        parts=draft.builder.snapshot(),
        metadata=draft.builder.metadata,
        usage=usage,
        log=LogRow(turn.pk, turn.epoch, len(progress.log) + 1, chunks),
        process=ANYBODY,
        finish_reason=finish_reason,
        error_code=error_code,
        error_text=error_text,
        undecided=undecided,
    )
    if ended:
        tell_end(turn, status, usage, error_code)
    return ended
