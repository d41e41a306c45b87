"""Versions of messages: what an edit or another answer replaced stays, and can be made current again."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chat.errors import MessageNotFound, ReadOnly, ThreadBusy
from chat.store.messages import BUSY_SQL, COLUMNS, StoredMessage, stored_message
from chat.store.scope import VISIBLE_THREAD, WRITABLE_THREAD, Scope
from chat.store.sql import PATIENCE, one_transaction, row, rows
from chat.store.turns import THREAD_CHANNEL


@dataclass(frozen=True, slots=True)
class Revision:
    """What a turn is another version of: the message ``target``, which is current, and whose turn (if it had one) is
    replaced. An edit is of a user message; otherwise it is another answer, to what stands before ``target``. A
    question that got no answer has none to replace: ``target`` is the question then, and ``parent`` as well.
    """

    target: int
    parent: int | None
    first_version: int | None
    replaced_turn: int | None
    is_edit: bool

    def parameters(self) -> dict[str, Any]:
        """As SQL parameters."""
        return {
            "target": self.target,
            "parent": self.parent,
            "first_version": self.first_version,
            "replaced_turn": self.replaced_turn,
        }


@dataclass(frozen=True, slots=True)
class Version:
    """A message as one of its versions, with the turn that made it."""

    message: StoredMessage
    is_current: bool
    turn: int | None
    status: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """A message that a client named, as it is current, or one that a turn has made."""

    id: int
    role: str
    parent: int | None
    first_version: int
    turn: int | None
    turn_id: str | None
    trigger: str | None
    fingerprint: str | None


def current_version(scope: Scope, thread_id: uuid.UUID, name: str | None) -> Found:
    """The current version of the message that ``name`` means, any version's id or the client's own name for it; with
    None the last message of the thread. Raises MessageNotFound, also for one whose versions are all replaced.
    """
    found = row(
        FIND.format(named=NAMED if name is not None else LAST),
        thread=thread_id,
        scope_user=scope.user_id,
        name=name,
        id=int(name) if name and name.isascii() and name.isdecimal() and len(name) < 19 else None,
    )
    if found is None:
        raise MessageNotFound
    return Found(**found)


def message_of(scope: Scope, thread_id: uuid.UUID, turn_id: str, role: str) -> Found | None:
    """The message of this role that a turn has made, whether current or replaced since: what a retry of the turn is
    about.
    """
    found = row(FIND.format(named=MADE), thread=thread_id, scope_user=scope.user_id, turn_id=turn_id, role=role)
    return None if found is None else Found(**found)


def answer_of(scope: Scope, asked: Found) -> Found | None:
    """The current answer behind a user message, None where it has none."""
    found = row(FIND.format(named=CHILD), thread=None, scope_user=scope.user_id, asked=asked.id)
    return None if found is None or found["role"] != "assistant" else Found(**found)


def read_versions(scope: Scope, message_id: int) -> list[Version]:
    """All versions of a message, oldest first; those of an answer that was never complete as well. Raises
    MessageNotFound.
    """
    found = rows(
        f"""
        WITH first AS (SELECT coalesce(version_of_id, id) AS id FROM chat_messages WHERE id = %(message)s)
        SELECT {COLUMNS}, is_current,
               (SELECT t.id FROM chat_turns t WHERE t.thread_id = v.thread_id AND t.turn_id = v.turn_id) AS turn,
               (SELECT t.status FROM chat_turns t WHERE t.thread_id = v.thread_id AND t.turn_id = v.turn_id)
          FROM chat_messages v
         WHERE (id = (SELECT id FROM first) OR version_of_id = (SELECT id FROM first)) AND deleted_at IS NULL
           AND EXISTS (SELECT FROM chat_threads WHERE chat_threads.id = v.thread_id AND {VISIBLE_THREAD})
         ORDER BY id
        """,
        message=message_id,
        scope_user=scope.user_id,
    )
    if not found:
        raise MessageNotFound
    return [Version(stored_message(one), one["is_current"], one["turn"], one["status"]) for one in found]


def versions_of(messages: Sequence[int]) -> dict[int, list[int]]:
    """The versions of each of these messages that have been current, oldest first; of those that have several. No
    scope: who may read a message may read its versions.
    """
    found = rows(
        """
        SELECT m.id, array_agg(v.id ORDER BY v.id) AS versions
          FROM chat_messages m
          JOIN chat_messages v ON v.id = coalesce(m.version_of_id, m.id)
                               OR v.version_of_id = coalesce(m.version_of_id, m.id)
         WHERE m.id = ANY (%(messages)s::bigint[]) AND v.current_at IS NOT NULL AND v.deleted_at IS NULL
         GROUP BY m.id HAVING count(*) > 1
        """,
        messages=list(messages),
    )
    return {one["id"]: one["versions"] for one in found}


def restore(scope: Scope, message_id: int) -> uuid.UUID:
    """Make a version current again, with what was current behind it when it last was; returns the thread's id. Those
    who watch the thread are told.

    Race: a send to the same thread. Both take its lock, and a turn that is live or waits refuses the restore. Raises
    MessageNotFound; ReadOnly, ThreadBusy, then nothing has changed.
    """
    with one_transaction():
        found = row(
            f"""
            SELECT chat_threads.id AS thread, {WRITABLE_THREAD} AS may_write, {PATIENCE}
              FROM chat_messages m JOIN chat_threads ON chat_threads.id = m.thread_id
             WHERE m.id = %(message)s AND m.current_at IS NOT NULL AND m.deleted_at IS NULL AND {VISIBLE_THREAD}
               FOR NO KEY UPDATE OF chat_threads
            """,
            message=message_id,
            scope_user=scope.user_id,
        )
        if found is None:
            raise MessageNotFound
        if not found["may_write"]:
            raise ReadOnly
        thread: uuid.UUID = found["thread"]
        busy = row(
            f"""
            SELECT id, turn_id, status FROM chat_turns
             WHERE thread_id = %(thread)s AND status IN ('queued', {BUSY_SQL}) ORDER BY id LIMIT 1
            """,
            thread=thread,
        )
        if busy is not None:
            raise ThreadBusy(turn=busy["id"], turn_id=busy["turn_id"], status=busy["status"], cursor=f"{busy['id']}-0")
        path = ",".join(str(one["id"]) for one in rows(PATH, message=message_id))
        # In this order: of what follows a message, one is current at every moment.
        rows(LEAVE, thread=thread, path=path)
        rows(TAKE, path=path)
        rows(
            """
            UPDATE chat_threads SET updated_at = clock_timestamp() WHERE id = %(thread)s
            RETURNING pg_notify(%(channel)s, id || ' ' || %(message)s::bigint)
            """,
            thread=thread,
            channel=THREAD_CHANNEL,
            message=message_id,
        )
    return thread


FIND = f"""
SELECT v.id, v.role, v.parent_id AS parent, coalesce(v.version_of_id, v.id) AS first_version,
       t.id AS turn, v.turn_id, t.trigger, t.fingerprint
  FROM chat_messages v
  JOIN chat_threads ON chat_threads.id = v.thread_id
  LEFT JOIN chat_turns t ON t.thread_id = v.thread_id AND t.turn_id = v.turn_id
 WHERE {{named}} AND v.deleted_at IS NULL AND {VISIBLE_THREAD}
 ORDER BY v.id DESC LIMIT 1
"""
MADE = "v.thread_id = %(thread)s AND v.turn_id = %(turn_id)s AND v.role = %(role)s"
LAST = "v.is_current AND v.thread_id = %(thread)s"
CHILD = "v.is_current AND v.parent_id = %(asked)s"
# The id that the server gave it goes before a client's name that looks like one.
NAMED = """v.is_current AND v.thread_id = %(thread)s AND coalesce(v.version_of_id, v.id) = (
       SELECT coalesce(n.version_of_id, n.id) FROM chat_messages n
        WHERE n.thread_id = %(thread)s AND (n.id = %(id)s OR n.client_id = %(name)s)
        ORDER BY n.id = %(id)s DESC, n.id DESC LIMIT 1)"""
# Up to the first message, and down along what was current last.
PATH = """
WITH RECURSIVE before AS (
    SELECT id, parent_id FROM chat_messages WHERE id = %(message)s
    UNION ALL SELECT m.id, m.parent_id FROM before JOIN chat_messages m ON m.id = before.parent_id
), behind AS (
    SELECT %(message)s::bigint AS id
    UNION ALL
    SELECT next.id FROM behind CROSS JOIN LATERAL (
        SELECT m.id FROM chat_messages m
         WHERE m.parent_id = behind.id AND m.current_at IS NOT NULL AND m.deleted_at IS NULL
         ORDER BY m.current_at DESC, m.id DESC LIMIT 1) next
)
SELECT id FROM before UNION SELECT id FROM behind
"""
LEAVE = """
UPDATE chat_messages SET is_current = false
 WHERE thread_id = %(thread)s AND is_current AND deleted_at IS NULL
   AND NOT id = ANY (string_to_array(%(path)s, ',')::bigint[])
"""
TAKE = """
UPDATE chat_messages SET is_current = true, current_at = clock_timestamp()
 WHERE id = ANY (string_to_array(%(path)s, ',')::bigint[]) AND NOT is_current
"""
