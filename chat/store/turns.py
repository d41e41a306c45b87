"""Turns as they stand."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from chat.errors import ReadOnly, TurnNotFound
from chat.models import BUSY, ENDED, TurnStatus
from chat.store.scope import VISIBLE_CHAT, VISIBLE_THREAD, WRITABLE_THREAD, Scope
from chat.store.sql import decoded, row
from chat.store.stream_log import TELL_STOP


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A turn row with the ids of its two messages (None where a message is gone or never was): primary keys in a
    thread; in a copilot chat the ids of the array's elements, the answer's also before there is one.

    ``last_seq`` is where the log of an ended or waiting turn ends, and behind which chunk the leg of a streaming one
    began. ``approvals`` are the calls that a waiting one asked about, in any leg, decided ones as well. ``title`` is
    what the turn has named its thread by beginning; empty where that had a title, and in a turn that is read later.
    """

    pk: int
    thread_id: uuid.UUID | None
    copilot_chat_id: uuid.UUID | None
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
    user_message_id: int | str | None
    assistant_message_id: int | str | None
    created: bool = False
    title: str = ""
    approvals: list[dict[str, Any]] = field(default_factory=list)

    @property
    def conversation(self) -> uuid.UUID:
        """The thread or the copilot chat that it is a turn of."""
        return cast(uuid.UUID, self.thread_id or self.copilot_chat_id)  # one of the two is set: a CHECK says so

    @property
    def streaming(self) -> bool:
        return self.status == TurnStatus.STREAMING

    @property
    def waiting(self) -> bool:
        return self.status == TurnStatus.AWAITING_APPROVAL

    @property
    def busy(self) -> bool:
        return self.status in BUSY

    @property
    def ended(self) -> bool:
        return self.status in ENDED


# The channel on which a commit tells that a thread's turns have changed: its id; and behind it that of a message, where
# another version of one is current.
THREAD_CHANNEL = "chat_thread"
TURN_COLUMNS = """t.id, t.thread_id, t.copilot_chat_id, t.turn_id, t.user_id, t.status, t.epoch, t.trigger, t.model,
       t.request, t.last_seq, t.finish_reason, t.error_code, t.error_text, t.created_at, t.finished_at, t.fingerprint,
       CASE WHEN t.status = 'awaiting_approval' THEN (
           SELECT jsonb_agg(jsonb_build_object(
                      'tool_call_id', a.tool_call_id, 'approval_id', a.approval_id, 'tool_name', a.tool_name,
                      'kind', a.kind, 'status', a.status, 'input', a.input, 'expires_at', a.expires_at) ORDER BY a.id)
             FROM chat_tool_approvals a WHERE a.turn_id = t.id) END AS approvals"""
# Which conversation a turn belongs to, and whether the asker may see it, whichever kind it is.
FROM_CONVERSATION = """chat_turns t
          LEFT JOIN chat_threads ON chat_threads.id = t.thread_id
          LEFT JOIN copilot_chats ON copilot_chats.id = t.copilot_chat_id"""
VISIBLE_CONVERSATION = f"({VISIBLE_THREAD} OR {VISIBLE_CHAT})"
IN_CONVERSATION = "(t.thread_id = %(conversation)s OR t.copilot_chat_id = %(conversation)s)"


def message_id(role: str) -> str:
    """SQL for the id of turn ``t``'s row of a role; NULL in a copilot chat, which has no rows."""
    return f"""(SELECT m.id FROM chat_messages m
         WHERE m.thread_id = t.thread_id AND m.turn_id = t.turn_id AND m.role = '{role}')"""


def answer_id(chat: uuid.UUID, turn_id: str) -> str:
    """The id of a copilot turn's answer: told in the stream's first chunk, and the same whoever ends the turn."""
    return str(uuid.uuid5(chat, turn_id))


def read_turn(scope: Scope, pk: int, *, created: bool = False) -> StoredTurn:
    """One turn. Raises TurnNotFound, also for a turn of a conversation that the asker may not see."""
    found = find(scope, "t.id = %(pk)s", pk=pk)
    if found is None:
        raise TurnNotFound
    return stored_turn(found, created=created)


def live_turn(scope: Scope, conversation: uuid.UUID) -> StoredTurn | None:
    """The conversation's turn that is streaming, if one is."""
    found = find(scope, f"{IN_CONVERSATION} AND t.status = 'streaming'", conversation=conversation)
    return stored_turn(found) if found else None


def busy_turn(scope: Scope, conversation: uuid.UUID) -> StoredTurn | None:
    """The conversation's turn that is streaming or waits for decisions, if one does."""
    found = find(
        scope, f"{IN_CONVERSATION} AND t.status IN ('streaming', 'awaiting_approval')", conversation=conversation
    )
    return stored_turn(found) if found else None


def turn_of_answer(scope: Scope, thread_id: uuid.UUID, name: str) -> StoredTurn | None:
    """The turn whose answer has this id, whichever version it is; None where there is none in the thread."""
    if not (name.isascii() and name.isdecimal() and len(name) < 19):
        return None
    found = find(
        scope,
        """
        t.thread_id = %(thread)s AND t.turn_id = (
        SELECT m.turn_id FROM chat_messages m
         WHERE m.id = %(message)s AND m.thread_id = %(thread)s AND m.role = 'assistant' AND m.deleted_at IS NULL)
        """,
        thread=thread_id,
        message=int(name),
    )
    return stored_turn(found) if found else None


def last_position(scope: Scope, thread_id: uuid.UUID) -> tuple[int, int]:
    """The number and the last chunk (0 while it is live) of the last turn that has begun in the thread, of those whose
    answer is, or was, current; (0, 0) where none has.

    The messages lead to it: they are written when a turn begins, and have an index for "the last of a thread". Numbers
    would not, since a turn that stops another one begins before those that wait. What has begun since, in a branch that
    another one has taken the place of again, has a higher one. Another answer that failed stays behind the position:
    who has asked for it reads of it in the log.
    """
    found = row(
        f"""
        SELECT coalesce(later.id, t.id) AS id,
               CASE WHEN later.id IS NULL THEN t.last_seq ELSE later.last_seq END AS last_seq
          FROM chat_threads
          JOIN chat_messages m ON m.thread_id = chat_threads.id
          JOIN chat_turns t ON t.thread_id = m.thread_id AND t.turn_id = m.turn_id
          LEFT JOIN LATERAL (
               SELECT l.id, l.last_seq FROM chat_turns l
                 JOIN chat_messages a ON a.thread_id = l.thread_id AND a.turn_id = l.turn_id AND a.role = 'assistant'
                WHERE l.thread_id = t.thread_id AND l.id > t.id AND l.started_at > t.started_at
                  AND a.current_at IS NOT NULL
                ORDER BY l.started_at DESC LIMIT 1) later ON true
         WHERE chat_threads.id = %(thread)s AND {VISIBLE_THREAD}
           AND m.role = 'assistant' AND m.is_current AND m.deleted_at IS NULL
         ORDER BY m.id DESC LIMIT 1
        """,
        thread=thread_id,
        scope_user=scope.user_id,
    )
    return (found["id"], found["last_seq"]) if found else (0, 0)


STOP = f"""
WITH stopped AS (
    UPDATE chat_turns SET stop_requested_at = coalesce(stop_requested_at, clock_timestamp())
     WHERE {{which}} AND status = 'streaming' RETURNING id
)
SELECT id, {TELL_STOP} FROM stopped
"""


def request_stop(scope: Scope, conversation: uuid.UUID, *, only: int | None = None) -> int | None:
    """Note that the live turn is to stop, tell all processes, and return its number; None when no turn is live.

    Whether the stop or the turn's own end comes first is decided by ``finalize_assistant_turn``. Raises ReadOnly for a
    thread that the asker sees and may not write in.
    """
    stopped = row(
        STOP.format(
            which=f"""(thread_id = (SELECT id FROM chat_threads WHERE id = %(conversation)s AND {WRITABLE_THREAD})
            OR copilot_chat_id = (SELECT id FROM copilot_chats WHERE id = %(conversation)s AND {VISIBLE_CHAT}))
       AND (%(only)s::bigint IS NULL OR id = %(only)s)"""
        ),
        conversation=conversation,
        scope_user=scope.user_id,
        only=only,
    )
    if stopped is None:
        _require_writable(scope, conversation)
    return stopped["id"] if stopped else None


def _require_writable(scope: Scope, conversation: uuid.UUID) -> None:
    if row(
        f"""
        SELECT 1 FROM chat_threads WHERE id = %(conversation)s AND {VISIBLE_THREAD} AND NOT {WRITABLE_THREAD}
        """,
        conversation=conversation,
        scope_user=scope.user_id,
    ):
        raise ReadOnly


def request_stop_anyway(pk: int) -> bool:
    """The same for one turn, whoever may see its conversation. Whether it is live."""
    return row(STOP.format(which="id = %(pk)s"), pk=pk) is not None


def find(scope: Scope, condition: str, **params: Any) -> dict[str, Any] | None:
    return row(
        f"""
        SELECT {TURN_COLUMNS},
               {message_id("user")} AS user_message_id, {message_id("assistant")} AS assistant_message_id
          FROM {FROM_CONVERSATION}
         WHERE {condition} AND {VISIBLE_CONVERSATION}
        """,
        scope_user=scope.user_id,
        **params,
    )


def stored_turn(found: dict[str, Any], *, created: bool = False) -> StoredTurn:
    fields = {name: value for name, value in found.items() if name not in ("id", "fingerprint", "request", "approvals")}
    if (chat := found["copilot_chat_id"]) is not None:
        fields |= {"user_message_id": found["turn_id"], "assistant_message_id": answer_id(chat, found["turn_id"])}
    approvals = decoded(found["approvals"]) if found["approvals"] else []
    return StoredTurn(pk=found["id"], request=decoded(found["request"]), created=created, approvals=approvals, **fields)
