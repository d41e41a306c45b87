"""Turns: begun in one transaction, ended in one, read in between."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import Error as DatabaseError
from django.db import OperationalError

from chat.errors import Contention, ThreadBusy, ThreadNotFound, TurnConflict, TurnNotFound
from chat.models import TurnStatus
from chat.store.messages import BUSY_SQL
from chat.store.scope import VISIBLE_THREAD, Scope
from chat.store.sql import decoded, encoded, row, rows, undone_on_error
from chat.store.usage import USAGE_COLUMNS, USAGE_VALUES, UsageFigures

logger = logging.getLogger(__name__)
ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A turn row with the ids of its two messages (None where a message is gone or never was)."""

    pk: int
    thread_id: uuid.UUID
    turn_id: str
    user_id: int | None
    status: str
    epoch: int
    trigger: str
    model: str
    request: Any
    last_seq: int
    finish_reason: str
    error_code: str
    error_text: str
    created_at: datetime
    finished_at: datetime | None
    user_message_id: int | None
    assistant_message_id: int | None
    created: bool = False

    @property
    def streaming(self) -> bool:
        return self.status == TurnStatus.STREAMING


TURN_COLUMNS = """t.id, t.thread_id, t.turn_id, t.user_id, t.status, t.epoch, t.trigger, t.model, t.request, t.last_seq,
       t.finish_reason, t.error_code, t.error_text, t.created_at, t.finished_at, t.fingerprint"""


def message_id(role: str) -> str:
    """SQL for the id of turn ``t``'s row of a role."""
    return f"""(SELECT m.id FROM chat_messages m
         WHERE m.thread_id = t.thread_id AND m.turn_id = t.turn_id AND m.role = '{role}')"""


@dataclass(frozen=True, slots=True)
class NewUserMessage:
    """The user message that begins a turn: its parts, and the name its client gave it."""

    parts: list[dict[str, Any]]
    client_id: str | None = None


def begin_turn(
    scope: Scope,
    thread_id: uuid.UUID,
    turn_id: str,
    *,
    fingerprint: str,
    request: dict[str, Any],
    user_message: NewUserMessage | None,
    trigger: str = "submit",
    model: str = "",
    owner: str = "",
    title: str = "",
) -> StoredTurn:
    """Turn, user row and shell in one transaction of one statement; ``created`` is False for a turn there was.

    Races, each decided by a unique index under the lock of the thread's row:

    - the same turn id again (a retry, a second tab): the turn there is, nothing written; TurnConflict where its
      fingerprint is another one;
    - another turn is busy: ThreadBusy with its ``turn`` and ``cursor``, nothing written;
    - a legacy append wrote the user row first: its id stays, the text becomes this one's.

    ``title`` names a thread that has no title yet. Raises ThreadNotFound.
    """
    for _ in range(ATTEMPTS):
        with undone_on_error():
            made = row(
                BEGIN,
                scope_user=scope.user_id,
                thread=thread_id,
                turn_id=turn_id,
                request=encoded(request),
                trigger=trigger,
                fingerprint=fingerprint,
                owner=owner,
                model=model,
                has_user_message=user_message is not None,
                user_parts=encoded(user_message.parts if user_message else []),
                client_id=user_message and user_message.client_id,
                title=title,
            )
        if made is not None:
            return _turn(made, created=True)
        # Under READ COMMITTED only a new statement sees who was first.
        there = _find(scope, "t.thread_id = %(thread)s AND t.turn_id = %(turn_id)s", thread=thread_id, turn_id=turn_id)
        if there is not None:
            if there["fingerprint"] != fingerprint:
                raise TurnConflict(turn=there["id"], turn_id=turn_id)
            return _turn(there)
        busy = _find(scope, f"t.thread_id = %(thread)s AND t.status IN ({BUSY_SQL})", thread=thread_id)
        if busy is not None:
            raise ThreadBusy(turn=busy["id"], turn_id=busy["turn_id"], cursor=f"{busy['id']}-0")
        if not row(
            f"SELECT 1 FROM chat_threads WHERE id = %(thread)s AND {VISIBLE_THREAD}",
            thread=thread_id,
            scope_user=scope.user_id,
        ):
            raise ThreadNotFound
        # The turn in our way ended, or was deleted, between two statements: once more.
    raise Contention


def persist_assistant_shell(
    scope: Scope,
    thread_id: uuid.UUID,
    turn_id: str,
    *,
    fingerprint: str = "",
    model: str = "",
    owner: str = "",
) -> StoredTurn:
    """Begin a turn whose user row is written elsewhere (``persist_user_turn``) or that answers an older one."""
    return begin_turn(
        scope,
        thread_id,
        turn_id,
        fingerprint=fingerprint,
        request={},
        user_message=None,
        model=model,
        owner=owner,
    )


# The conflict clause of the turn names no index on purpose: the turn id again and a busy thread both mean "not
# made", and the statements behind it tell which. That of the messages repeats the index's predicate literally: as
# a bound parameter it fails from the 11th execution on, under a generic plan.
BEGIN = f"""
WITH thread AS (
    SELECT id FROM chat_threads WHERE id = %(thread)s AND {VISIBLE_THREAD} FOR NO KEY UPDATE
), turn AS (
    INSERT INTO chat_turns (thread_id, user_id, turn_id, request, trigger, fingerprint, status, owner, model,
                            heartbeat_at, started_at)
    SELECT id, %(scope_user)s, %(turn_id)s, %(request)s::jsonb, %(trigger)s, %(fingerprint)s, 'streaming',
           %(owner)s, %(model)s, clock_timestamp(), clock_timestamp()
      FROM thread
    ON CONFLICT DO NOTHING
    RETURNING *
), message AS (
    INSERT INTO chat_messages (thread_id, turn_id, role, parts, author_id, client_id, model)
    SELECT turn.thread_id, turn.turn_id, new.role, new.parts,
           CASE WHEN new.role = 'user' THEN turn.user_id END, new.client_id, new.model
      FROM turn, (VALUES
          (1, 'user', %(user_parts)s::jsonb, %(client_id)s::varchar, ''),
          (2, 'assistant', '[]'::jsonb, NULL, %(model)s)
      ) AS new (place, role, parts, client_id, model)
     WHERE new.role = 'assistant' OR %(has_user_message)s
     ORDER BY new.place
    ON CONFLICT (thread_id, turn_id, role) WHERE turn_id IS NOT NULL
    DO UPDATE SET parts = EXCLUDED.parts, author_id = EXCLUDED.author_id, client_id = EXCLUDED.client_id,
                  model = EXCLUDED.model, metadata = chat_messages.metadata - 'appended',
                  updated_at = clock_timestamp()
    RETURNING id, thread_id, role
), activity AS (
    UPDATE chat_threads
       SET updated_at = clock_timestamp(), title = CASE WHEN title = '' THEN %(title)s ELSE title END
     WHERE id IN (SELECT thread_id FROM message)
)
SELECT {TURN_COLUMNS},
       coalesce((SELECT id FROM message WHERE role = 'user'), {message_id("user")}) AS user_message_id,
       (SELECT id FROM message WHERE role = 'assistant') AS assistant_message_id
  FROM turn t
"""


def finalize_assistant_turn(
    turn: StoredTurn,
    *,
    status: TurnStatus,
    parts: list[dict[str, Any]],
    metadata: dict[str, Any],
    usage: UsageFigures,
    last_seq: int = 0,
    finish_reason: str = "",
    error_code: str = "",
    error_text: str = "",
) -> bool:
    """End a turn: status, parts, reason, error and usage in one transaction. True if this call ended it.

    One compare-and-set on status and epoch, so that of a stop, a completion, a recovery and a process that wakes
    up late exactly one ends the turn; the others change nothing and get False. Where the usage row cannot be
    written, the answer is written without it, and the usage once more by itself, as ``missing``.
    """
    ending = {
        "turn": turn.pk,
        "thread": turn.thread_id,
        "epoch": turn.epoch,
        "status": status.value,
        "parts": encoded(parts),
        "metadata": encoded(metadata),
        "last_seq": last_seq,
        "finish_reason": finish_reason,
        "error_code": error_code,
        "error_text": error_text,
    }
    try:
        with undone_on_error():
            return row(FINALIZE.format(usage=WITH_USAGE), **ending, **usage.parameters()) is not None
    except OperationalError:
        raise  # no database: nothing was wrong with the usage
    except DatabaseError:
        logger.exception("usage of turn %s could not be written; its answer is", turn.pk)
    with undone_on_error():
        ended = row(FINALIZE.format(usage=""), **ending) is not None
    if ended:
        try:
            with undone_on_error():
                rows(LATE_USAGE, turn=turn.pk, **UsageFigures().parameters())
        except DatabaseError:
            logger.exception("turn %s has no usage row", turn.pk)
    return ended


# The thread's row is locked first, like everywhere: a send that waits for this turn's end in the busy index holds it.
FINALIZE = """
WITH thread AS (
    SELECT id FROM chat_threads WHERE id = %(thread)s FOR NO KEY UPDATE
), turn AS (
    UPDATE chat_turns t
       SET status = %(status)s, finish_reason = %(finish_reason)s, error_code = %(error_code)s,
           error_text = %(error_text)s, last_seq = %(last_seq)s, finished_at = clock_timestamp()
      FROM thread
     WHERE t.id = %(turn)s AND t.thread_id = thread.id AND t.epoch = %(epoch)s AND t.status = 'streaming'
    RETURNING t.id, t.thread_id, t.turn_id, t.user_id
), message AS (
    UPDATE chat_messages m
       SET parts = %(parts)s::jsonb, metadata = m.metadata || %(metadata)s::jsonb, updated_at = clock_timestamp()
      FROM turn
     WHERE m.thread_id = turn.thread_id AND m.turn_id = turn.turn_id AND m.role = 'assistant'
    RETURNING m.id
), activity AS (
    UPDATE chat_threads SET updated_at = clock_timestamp() WHERE id IN (SELECT thread_id FROM turn)
){usage}
SELECT id FROM turn
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


def read_turn(scope: Scope, pk: int, *, created: bool = False) -> StoredTurn:
    """One turn. Raises TurnNotFound, also for a turn of a thread that the asker may not see."""
    found = _find(scope, "t.id = %(pk)s", pk=pk)
    if found is None:
        raise TurnNotFound
    return _turn(found, created=created)


def live_turn(scope: Scope, thread_id: uuid.UUID) -> StoredTurn | None:
    """The thread's turn that is streaming, if one is."""
    found = _find(scope, "t.thread_id = %(thread)s AND t.status = 'streaming'", thread=thread_id)
    return _turn(found) if found else None


def request_stop(scope: Scope, thread_id: uuid.UUID) -> int | None:
    """Note that the live turn is to stop and return its number; None when no turn is live.

    Whether the stop or the turn's own end comes first is decided by ``finalize_assistant_turn``.
    """
    stopped = row(
        f"""
        UPDATE chat_turns SET stop_requested_at = coalesce(stop_requested_at, clock_timestamp())
         WHERE thread_id = (SELECT id FROM chat_threads WHERE id = %(thread)s AND {VISIBLE_THREAD})
           AND status = 'streaming' RETURNING id
        """,
        thread=thread_id,
        scope_user=scope.user_id,
    )
    return stopped["id"] if stopped else None


def _find(scope: Scope, condition: str, **params: Any) -> dict[str, Any] | None:
    return row(
        f"""
        SELECT {TURN_COLUMNS},
               {message_id("user")} AS user_message_id, {message_id("assistant")} AS assistant_message_id
          FROM chat_turns t JOIN chat_threads ON chat_threads.id = t.thread_id
         WHERE {condition} AND {VISIBLE_THREAD}
        """,
        scope_user=scope.user_id,
        **params,
    )


def _turn(found: dict[str, Any], *, created: bool = False) -> StoredTurn:
    fields = {name: value for name, value in found.items() if name not in ("id", "fingerprint", "request")}
    return StoredTurn(pk=found["id"], request=decoded(found["request"]), created=created, **fields)
