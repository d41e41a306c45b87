"""The end of a turn, or of one of its legs: one transaction, and exactly one end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

from chat import conf
from chat.errors import ChatNotFound
from chat.models import ApprovalStatus, Trigger, TurnStatus
from chat.protocol.copilot import answer_element
from chat.protocol.fold import says_something
from chat.store import turn_news
from chat.store.approvals import ASK, LEAVE_UNDECIDED
from chat.store.copilot import lock_chat, write_answer
from chat.store.quotas import settlement
from chat.store.sql import (
    PATIENCE,
    UNAVAILABLE,
    DatabaseError,
    encoded,
    one_transaction,
    refused_by,
    row,
    rows,
    undone_on_error,
)
from chat.store.stream_log import CHANNEL, LogRow, news
from chat.store.turns import THREAD_CHANNEL, StoredTurn
from chat.store.usage import USAGE_AGAIN, USAGE_COLUMNS, USAGE_VALUES, UsageFigures
from chat.telemetry import event

logger = logging.getLogger(__name__)

# The most that the mirror's columns hold: those of ``token_usage`` hold more, and an agent may say anything.
MIRROR_TOKENS = 2**31 - 1


class Ended(IntEnum):
    """Whether a call ended its turn or parked it, and whether another turn of the thread waits for the end: only then
    is it worth a transaction to look. What begins to wait in this very moment looks itself.
    """

    NO = 0
    YES = 1
    NEXT_WAITS = 2
    PARKED = 3
    STOP_WANTED = 4  # parked as well, but its stop was asked for before: whoever parked it ends it


PARKED = (Ended.PARKED, Ended.STOP_WANTED)
OVER = (Ended.YES, Ended.NEXT_WAITS)


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
    asked: Sequence[dict[str, Any]] = (),
    undecided: ApprovalStatus | None = None,
) -> Ended:
    """End a turn: the last rows of its log, status, parts, reason, error and usage in one transaction, with the
    NOTIFY that tells of it.

    One compare-and-set on status and epoch, so that of a stop, a completion, a recovery and a process that wakes
    up late exactly one ends the turn; the others change nothing and get ``Ended.NO``. Where the usage row cannot be
    written, the answer is written without it, and the usage once more by itself, as ``missing``. The turn's place among
    its user's live ones is given back, and its tokens are counted, in the same statement.

    With the status ``awaiting_approval`` the turn parks: it waits for decisions on the calls ``asked`` (``{"id",
    "approval", "name", "kind", "input"}``) and holds neither lease nor place. Calls that a turn still waits for when it
    ends become ``undecided``.

    In a copilot chat the answer is an element of its array, and of the mirror. A stopped or failed turn that said
    nothing leaves none.
    """
    end = _end_in_thread if turn.copilot_chat_id is None else _end_in_chat
    ending = {
        "turn": turn.pk,
        "epoch": turn.epoch,
        "status": status.value,
        "first_seq": log and log.first_seq,
        "last_seq": log.last_seq if log else 0,
        "chunks": log and log.lines,
        "channel": CHANNEL,
        "news": next(iter(news(process, [turn.pk]))),
        "finish_reason": finish_reason,
        "error_code": error_code,
        "error_text": error_text,
        "used_tokens": usage.total_tokens,
        "asked": encoded(list(asked)),
        "approval_seconds": conf.get("APPROVAL_SECONDS"),
        "undecided": undecided and undecided.value,
        "more": (ASK if asked else "") + (LEAVE_UNDECIDED if undecided else "") + settlement(),
    }
    try:
        ended = end(turn, parts, metadata, usage, ending | usage.parameters())
    except UNAVAILABLE:
        raise  # no database: nothing was wrong with the usage
    except DatabaseError as problem:
        if refused_by(problem) not in ("", "token_usage"):
            raise
        ended = _end_without_usage(end, turn, parts, metadata, ending)
        # It was the usage, since without it the answer could be written.
        told = event("usage_not_written", turn=turn.pk, conversation=turn.conversation)
        logger.exception("usage of turn %s could not be written; its answer is", turn.pk, extra=told)
        usage = UsageFigures()
    if ended in OVER and turn.status != TurnStatus.QUEUED:
        turn_news.ended(turn, status=status.value, error_code=error_code, total_tokens=usage.total_tokens)
    return ended


def _end_without_usage(
    end: Callable[..., Ended],
    turn: StoredTurn,
    parts: list[dict[str, Any]],
    metadata: dict[str, Any],
    ending: dict[str, Any],
) -> Ended:
    ended = end(turn, parts, metadata, None, ending)
    if ended:
        try:
            with undone_on_error():
                rows(LATE_USAGE, turn=turn.pk, **UsageFigures().parameters())
        except DatabaseError:
            told = event("usage_missing", turn=turn.pk, conversation=turn.conversation)
            logger.exception("turn %s has no usage row", turn.pk, extra=told)
    return ended


def _end_in_thread(
    turn: StoredTurn,
    parts: list[dict[str, Any]],
    metadata: dict[str, Any],
    usage: UsageFigures | None,
    ending: dict[str, Any],
) -> Ended:
    # Another answer takes the place of the one there is when it is complete, or has been stopped with something in it.
    status = ending["status"]
    replaces = turn.trigger == Trigger.REGENERATE and (
        status == TurnStatus.COMPLETED or (status == TurnStatus.STOPPED and says_something(parts))
    )
    values = {
        "thread": turn.thread_id,
        "parts": encoded(parts),
        "metadata": encoded(metadata),
        "thread_channel": THREAD_CHANNEL,
        **ending,
    }
    more = (WITH_USAGE if usage else "") + values.pop("more")
    if replaces:
        with one_transaction():
            # A statement of its own: the next one sees all that was written under the lock before.
            row(f"SELECT {PATIENCE} FROM chat_threads WHERE id = %(thread)s FOR NO KEY UPDATE", thread=turn.thread_id)
            found = row(REPLACE_ANSWER.format(more=more), **values)
    else:
        with undone_on_error():
            found = row(FINALIZE.format(more=more), **values)
    if found is None:
        return Ended.NO
    if status == TurnStatus.AWAITING_APPROVAL:
        return Ended.STOP_WANTED if found["stop_wanted"] else Ended.PARKED
    return Ended.NEXT_WAITS if found["next_waits"] else Ended.YES


def _end_in_chat(
    turn: StoredTurn,
    parts: list[dict[str, Any]],
    metadata: dict[str, Any],
    usage: UsageFigures | None,
    ending: dict[str, Any],
) -> Ended:
    assert turn.copilot_chat_id is not None
    with one_transaction():
        try:
            chat = lock_chat(None, turn.copilot_chat_id)
        except ChatNotFound:  # deleted, and the turn with it
            return Ended.NO
        more = (WITH_USAGE_IN_CHAT if usage else "") + ending["more"]
        found = row(FINALIZE_IN_CHAT.format(more=more), **{key: ending[key] for key in ending if key != "more"})
        if found is None:
            return Ended.NO
        if ending["status"] == TurnStatus.AWAITING_APPROVAL:
            return Ended.STOP_WANTED if found["stop_wanted"] else Ended.PARKED
        answer = None
        if parts or ending["status"] == TurnStatus.COMPLETED:
            answer = answer_element(str(turn.assistant_message_id), parts, metadata, found["finished_at"])
        tokens = {}
        if usage is not None and usage.source != "missing":
            tokens = {
                "tokens_in": min(usage.prompt_tokens, MIRROR_TOKENS),
                "tokens_out": min(usage.completion_tokens, MIRROR_TOKENS),
            }
        write_answer(chat, turn_id=turn.turn_id, answer=answer, **tokens)
    return Ended.YES


ENDS = """SET status = %(status)s::varchar, finish_reason = %(finish_reason)s, error_code = %(error_code)s,
           error_text = %(error_text)s, last_seq = %(last_seq)s,
           heartbeat_at = CASE WHEN %(status)s::text <> 'awaiting_approval' THEN t.heartbeat_at END,
           finished_at = CASE WHEN %(status)s::text <> 'awaiting_approval' THEN clock_timestamp() END"""
# Only a live turn parks: who asks once more, since the answer to the commit was lost, finds it parked already.
MAY_END = """t.id = %(turn)s AND t.epoch = %(epoch)s AND (t.status = 'streaming' OR (
               t.status IN ('queued', 'awaiting_approval') AND %(status)s::text <> 'awaiting_approval'))"""
# The thread's row is locked first, like everywhere: a send that waits for this turn's end in the busy index holds it.
FINALIZE = f"""
WITH thread AS (
    SELECT id FROM chat_threads WHERE id = %(thread)s FOR NO KEY UPDATE
), turn AS (
    UPDATE chat_turns t {ENDS}
      FROM thread
     WHERE {MAY_END}
    RETURNING t.id, t.thread_id, t.turn_id, t.user_id, t.stop_requested_at IS NOT NULL AS stop_wanted
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
){{more}}
SELECT id, stop_wanted, pg_notify(%(channel)s, %(news)s), pg_notify(%(thread_channel)s, thread_id::text),
       EXISTS (SELECT FROM chat_turns q
                WHERE q.thread_id = turn.thread_id AND q.status = 'queued' AND q.id <> turn.id) AS next_waits
  FROM turn
"""
# The place is free before the new answer takes it: of what follows a message, one is current at every moment.
REPLACE_ANSWER = FINALIZE.replace(
    "), message AS (",
    """), superseded AS (
    UPDATE chat_messages o SET is_current = false, updated_at = clock_timestamp()
      FROM turn JOIN chat_messages n
           ON n.thread_id = turn.thread_id AND n.turn_id = turn.turn_id AND n.role = 'assistant'
     WHERE o.thread_id = turn.thread_id AND o.id > coalesce(n.parent_id, 0)
       AND o.is_current AND o.deleted_at IS NULL
    RETURNING o.id
), message AS (""",
).replace(
    "SET parts = %(parts)s::jsonb,",
    "SET is_current = (SELECT count(*) FROM superseded) >= 0, current_at = clock_timestamp(),"
    " parts = %(parts)s::jsonb,",
)
WITH_USAGE = f""", usage AS (
    INSERT INTO token_usage (turn_id, message_id, thread_id, user_id, {USAGE_COLUMNS})
    SELECT turn.id, message.id, turn.thread_id, turn.user_id, {USAGE_VALUES}
      FROM turn LEFT JOIN message ON true{USAGE_AGAIN})"""
# Behind ``lock_chat``, which is a statement of its own: it locks the chat before the turn, like everybody.
FINALIZE_IN_CHAT = f"""
WITH turn AS (
    UPDATE chat_turns t {ENDS}
     WHERE {MAY_END}
    RETURNING t.id, t.copilot_chat_id, t.user_id, t.finished_at, t.stop_requested_at IS NOT NULL AS stop_wanted
), log AS (
    INSERT INTO chat_stream_events (turn_id, first_seq, last_seq, chunks)
    SELECT id, %(first_seq)s, %(last_seq)s, %(chunks)s::text FROM turn WHERE %(chunks)s::text IS NOT NULL
){{more}}
SELECT finished_at, stop_wanted, pg_notify(%(channel)s, %(news)s) FROM turn
"""
WITH_USAGE_IN_CHAT = f""", usage AS (
    INSERT INTO token_usage (turn_id, copilot_chat_id, user_id, {USAGE_COLUMNS})
    SELECT id, copilot_chat_id, user_id, {USAGE_VALUES} FROM turn{USAGE_AGAIN})"""
LATE_USAGE = f"""
INSERT INTO token_usage (turn_id, message_id, thread_id, copilot_chat_id, user_id, {USAGE_COLUMNS})
SELECT t.id, m.id, t.thread_id, t.copilot_chat_id, t.user_id, {USAGE_VALUES}
  FROM chat_turns t
  LEFT JOIN chat_messages m ON m.thread_id = t.thread_id AND m.turn_id = t.turn_id AND m.role = 'assistant'
 WHERE t.id = %(turn)s
ON CONFLICT DO NOTHING RETURNING id
"""
