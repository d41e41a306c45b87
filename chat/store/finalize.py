"""The end of a turn: one transaction, and exactly one end."""

from __future__ import annotations

import logging
from enum import IntEnum
from typing import Any

from chat.models import TurnStatus
from chat.store.quotas import settlement
from chat.store.sql import UNAVAILABLE, DatabaseError, encoded, row, rows, undone_on_error
from chat.store.stream_log import CHANNEL, LogRow, news
from chat.store.turns import THREAD_CHANNEL, StoredTurn
from chat.store.usage import USAGE_COLUMNS, USAGE_VALUES, UsageFigures

logger = logging.getLogger(__name__)


class Ended(IntEnum):
    """Whether a call ended its turn, and whether another turn of the thread waits for that: only then is it worth a
    transaction to look. What begins to wait in this very moment looks itself.
    """

    NO = 0
    YES = 1
    NEXT_WAITS = 2


def finalize_assistant_turn(
    turn: StoredTurn,
    *,
    status: TurnStatus,
    parts: list[dict[str, Any]],
    metadata: dict[str, Any],
    usage: UsageFigures,
    log: LogRow | None = None,
    process: str = "",
    finish_reason: str = "",
    error_code: str = "",
    error_text: str = "",
) -> Ended:
    """End a turn: the last rows of its log, status, parts, reason, error and usage in one transaction, with the
    NOTIFY that tells of it.

    One compare-and-set on status and epoch, so that of a stop, a completion, a recovery and a process that wakes
    up late exactly one ends the turn; the others change nothing and get ``Ended.NO``. Where the usage row cannot be
    written, the answer is written without it, and the usage once more by itself, as ``missing``. The turn's place among
    its user's live ones is given back, and its tokens are counted, in the same statement.
    """
    ending = {
        "turn": turn.pk,
        "thread": turn.thread_id,
        "epoch": turn.epoch,
        "status": status.value,
        "parts": encoded(parts),
        "metadata": encoded(metadata),
        "first_seq": log.first_seq if log else 0,
        "last_seq": log.last_seq if log else 0,
        "chunks": log.lines if log else None,
        "channel": CHANNEL,
        "thread_channel": THREAD_CHANNEL,
        "news": next(iter(news(process, [turn.pk]))),
        "finish_reason": finish_reason,
        "error_code": error_code,
        "error_text": error_text,
        "used_tokens": usage.total_tokens,
    }
    try:
        with undone_on_error():
            return _ended(row(FINALIZE.format(usage=WITH_USAGE + settlement()), **ending, **usage.parameters()))
    except UNAVAILABLE:
        raise  # no database: nothing was wrong with the usage
    except DatabaseError:
        logger.exception("usage of turn %s could not be written; its answer is", turn.pk)
    with undone_on_error():
        ended = _ended(row(FINALIZE.format(usage=settlement()), **ending))
    if ended:
        try:
            with undone_on_error():
                rows(LATE_USAGE, turn=turn.pk, **UsageFigures().parameters())
        except DatabaseError:
            logger.exception("turn %s has no usage row", turn.pk)
    return ended


def _ended(found: dict[str, Any] | None) -> Ended:
    if found is None:
        return Ended.NO
    return Ended.NEXT_WAITS if found["next_waits"] else Ended.YES


# The thread's row is locked first, like everywhere: a send that waits for this turn's end in the busy index holds it.
FINALIZE = """
WITH thread AS (
    SELECT id FROM chat_threads WHERE id = %(thread)s FOR NO KEY UPDATE
), turn AS (
    UPDATE chat_turns t
       SET status = %(status)s, finish_reason = %(finish_reason)s, error_code = %(error_code)s,
           error_text = %(error_text)s, last_seq = %(last_seq)s, finished_at = clock_timestamp()
      FROM thread
     WHERE t.id = %(turn)s AND t.thread_id = thread.id AND t.epoch = %(epoch)s
       AND t.status IN ('streaming', 'queued')
    RETURNING t.id, t.thread_id, t.turn_id, t.user_id
), message AS (
    UPDATE chat_messages m
       SET parts = %(parts)s::jsonb, metadata = m.metadata || %(metadata)s::jsonb, updated_at = clock_timestamp()
      FROM turn
     WHERE m.thread_id = turn.thread_id AND m.turn_id = turn.turn_id AND m.role = 'assistant'
    RETURNING m.id
), log AS (
    INSERT INTO chat_stream_events (turn_id, first_seq, last_seq, chunks)
    SELECT id, %(first_seq)s, %(last_seq)s, %(chunks)s::text FROM turn WHERE %(chunks)s::text IS NOT NULL
), activity AS (
    UPDATE chat_threads SET updated_at = clock_timestamp() WHERE id IN (SELECT thread_id FROM turn)
){usage}
SELECT id, pg_notify(%(channel)s, %(news)s), pg_notify(%(thread_channel)s, thread_id::text),
       EXISTS (SELECT FROM chat_turns q
                WHERE q.thread_id = turn.thread_id AND q.status = 'queued' AND q.id <> turn.id) AS next_waits
  FROM turn
"""
WITH_USAGE = f""", usage AS (
    INSERT INTO token_usage (turn_id, message_id, thread_id, user_id, {USAGE_COLUMNS})
    SELECT turn.id, message.id, turn.thread_id, turn.user_id, {USAGE_VALUES}
      FROM turn LEFT JOIN message ON true
    ON CONFLICT DO NOTHING
)"""
LATE_USAGE = f"""
INSERT INTO token_usage (turn_id, message_id, thread_id, user_id, {USAGE_COLUMNS})
SELECT t.id, m.id, t.thread_id, t.user_id, {USAGE_VALUES}
  FROM chat_turns t
  LEFT JOIN chat_messages m ON m.thread_id = t.thread_id AND m.turn_id = t.turn_id AND m.role = 'assistant'
 WHERE t.id = %(turn)s
ON CONFLICT DO NOTHING RETURNING id
"""
