"""Turns whose process is gone: ended from the fold of their log, so that nothing that was shown is lost."""

from __future__ import annotations

import logging

import orjson

from chat import conf
from chat.models import TurnStatus
from chat.protocol import sse
from chat.protocol.canonical import Canonical
from chat.protocol.fold import AssistantContentBuilder
from chat.protocol.usage import UsageMeter
from chat.store.finalize import Ended, finalize_assistant_turn
from chat.store.leases import take_expired
from chat.store.stream_log import LogRow, read_log
from chat.store.turns import StoredTurn
from chat.streams.writer import process_name
from chat.telemetry import commit
from chat.turns import envelope
from chat.turns.finish import figures, shown, taken

logger = logging.getLogger(__name__)

# Whose news it is: also this process's, which may follow the turn for readers of its own.
ANYBODY = "anybody"


def recover_expired(turn: int | None = None) -> list[int]:
    """End turns whose lease has run out (or this one, if its has) as ``interrupted``, some twenty at a time; returns
    their numbers.

    May be run by any process, any number of them at once, and again after dying half-way: a turn that was taken
    over and not ended expires again.
    """
    with commit("take"):
        taken = take_expired(conf.get("LEASE_SECONDS"), process_name(), turn=turn)
    ended = []
    for one in taken:
        try:
            if _end(one):
                ended.append(one.pk)
        except Exception as problem:  # it must not keep the others from their end, and expires again itself
            logger.error("turn %s could not be recovered: %s", one.pk, type(problem).__name__)
    return ended


def _end(turn: StoredTurn) -> Ended:
    log = read_log(turn.pk)
    chunks = [orjson.loads(chunk) for chunk in log] or envelope.opening(turn)
    builder = AssistantContentBuilder()
    for chunk in chunks:
        builder.apply(chunk)
    closing = Canonical.resume(chunks).stop()
    for chunk in closing:
        builder.apply(chunk)
    usage = figures(UsageMeter(), builder)
    ending = envelope.ending(
        TurnStatus.INTERRUPTED,
        finish_reason="other",
        usage=shown(usage),
        error_code="",
        error_text="",
        extra=taken(turn, usage),
    )
    for chunk in ending:
        builder.apply(chunk)
    added = [*([] if log else chunks), *closing, *ending]
    with commit("recover"):
        ended = finalize_assistant_turn(
            turn,
            status=TurnStatus.INTERRUPTED,
            parts=builder.snapshot(),
            metadata=builder.metadata,
            usage=usage,
            log=LogRow(turn.pk, turn.epoch, len(log) + 1, [sse.encode(chunk) for chunk in added]),
            process=ANYBODY,
            finish_reason="other",
        )
    if ended:
        logger.warning("turn %s was recovered: its process is gone, %d chunks are kept", turn.pk, len(log))
    return ended
