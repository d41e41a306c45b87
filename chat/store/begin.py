"""The beginning of a turn: one transaction, whoever races."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Required, TypedDict, Unpack

from chat.errors import Contention, ThreadBusy, ThreadNotFound, TurnConflict
from chat.store.messages import BUSY_SQL
from chat.store.quotas import admitted, limits_of, refuse
from chat.store.scope import VISIBLE_THREAD, Scope
from chat.store.sql import ATTEMPTS, encoded
from chat.store.threads import find_thread, require_not_deleted, require_thread, thread_uuid
from chat.store.turns import THREAD_CHANNEL, TURN_COLUMNS, StoredTurn, find, message_id, stored_turn


@dataclass(frozen=True, slots=True)
class NewUserMessage:
    """The user message that begins a turn: its parts, and the name its client gave it."""

    parts: list[dict[str, Any]]
    client_id: str | None = None


class Wanted(TypedDict, total=False):
    """What a turn is to be: see ``_values`` for the defaults."""

    fingerprint: Required[str]
    request: Required[dict[str, Any]]
    user_message: Required[NewUserMessage | None]
    trigger: str
    model: str
    owner: str
    title: str


def begin_turn(scope: Scope, thread_id: uuid.UUID, turn_id: str, **wanted: Unpack[Wanted]) -> StoredTurn:
    """Turn, user row and shell in one transaction of one statement; ``created`` is False for a turn there was.

    Races, each decided by a unique index under the lock of the thread's row:

    - the same turn id again (a retry, a second tab): the turn there is, nothing written; TurnConflict where its
      fingerprint is another one;
    - another turn is busy, or waits and was here first: ThreadBusy with its ``turn``, ``status`` and ``cursor``,
      nothing written;
    - a legacy append wrote the user row first: its id stays, the text becomes this one's;
    - other turns of the asker's begin, in any thread: QuotaExceeded for those that are one too many, nothing written.

    ``title`` names a thread that has no title yet. Raises ThreadNotFound.
    """
    values = _values(scope, turn_id, **wanted)
    limits = limits_of(scope.user_id)
    for _ in range(ATTEMPTS):
        made = admitted(BEGIN, limits, thread=thread_id, **values)
        if made is not None:
            return stored_turn(made, created=True)
        # Under READ COMMITTED only a new statement sees who was first.
        there = find(scope, "t.thread_id = %(thread)s AND t.turn_id = %(turn_id)s", thread=thread_id, turn_id=turn_id)
        if there is not None:
            if there["fingerprint"] != wanted["fingerprint"]:
                raise TurnConflict(turn=there["id"], turn_id=turn_id)
            return stored_turn(there)
        busy = find(scope, f"t.thread_id = %(thread)s AND t.status IN ({BUSY_SQL})", thread=thread_id) or find(
            scope,
            "t.id = (SELECT min(id) FROM chat_turns WHERE thread_id = %(thread)s AND status = 'queued')",
            thread=thread_id,
        )
        if busy is not None:
            raise ThreadBusy(turn=busy["id"], turn_id=busy["turn_id"], status=busy["status"], cursor=f"{busy['id']}-0")
        require_thread(scope, thread_id)
        if limits is not None:
            refuse(scope.user_id, limits)
        # What was in our way ended, or was deleted, between two statements: once more.
    raise Contention


def begin_turn_in(scope: Scope, thread: str, turn_id: str, **wanted: Unpack[Wanted]) -> StoredTurn:
    """``begin_turn`` in the thread of that name. Where there is none it is made, by the same statement: a first send
    waits for the disk once.
    """
    values = _values(scope, turn_id, **wanted)
    limits = limits_of(scope.user_id)
    for attempt in range(ATTEMPTS):
        with suppress(ThreadNotFound):
            return begin_turn(scope, find_thread(scope, thread), turn_id, **wanted)
        if attempt:  # and nobody else has made it, either
            require_not_deleted(scope, thread)
            if limits is not None:
                refuse(scope.user_id, limits)
        made = admitted(BEGIN_IN_NEW_THREAD, limits, name=thread, id=thread_uuid(thread), **values)
        if made is not None:
            return stored_turn(made, created=True)
    raise Contention


def _values(
    scope: Scope,
    turn_id: str,
    *,
    fingerprint: str,
    request: dict[str, Any],
    user_message: NewUserMessage | None,
    trigger: str = "submit",
    model: str = "",
    owner: str = "",
    title: str = "",
) -> dict[str, Any]:
    return {
        "scope_user": scope.user_id,
        "turn_id": turn_id,
        "request": encoded(request),
        "trigger": trigger,
        "fingerprint": fingerprint,
        "owner": owner,
        "model": model,
        "has_user_message": user_message is not None,
        "user_parts": encoded(user_message.parts if user_message else []),
        "client_id": user_message and user_message.client_id,
        "title": title,
    }


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


# The rows of a turn that begins: wants ``turn`` as a CTE. The conflict clause repeats the index's predicate literally:
# as a bound parameter it fails from the 11th execution on, under a generic plan.
MESSAGES = """message AS (
    INSERT INTO chat_messages (thread_id, turn_id, role, parts, author_id, client_id, model)
    SELECT turn.thread_id, turn.turn_id, new.role, new.parts,
           CASE WHEN new.role = 'user' THEN turn.user_id END, new.client_id, new.model
      FROM turn, LATERAL (VALUES
          (1, 'user', {user_parts}, ({client_id})::varchar, ''),
          (2, 'assistant', '[]'::jsonb, NULL, turn.model)
      ) AS new (place, role, parts, client_id, model)
     WHERE new.role = 'assistant' OR {has_user_message}
     ORDER BY new.place
    ON CONFLICT (thread_id, turn_id, role) WHERE turn_id IS NOT NULL
    DO UPDATE SET parts = EXCLUDED.parts, author_id = EXCLUDED.author_id, client_id = EXCLUDED.client_id,
                  model = EXCLUDED.model, metadata = chat_messages.metadata - 'appended',
                  updated_at = clock_timestamp()
    RETURNING id, thread_id, role
), activity AS (
    UPDATE chat_threads
       SET updated_at = clock_timestamp(), title = CASE WHEN title = '' THEN {title} ELSE title END
     WHERE id IN (SELECT thread_id FROM message)
)"""
# The conflict clause of the turn names no index on purpose: the turn id again and a busy thread both mean "not
# made", and the statements behind it tell which. For ``admitted``: it has the places {within} and {quota}.
FROM_THREAD = f"""
), turn AS (
    INSERT INTO chat_turns (thread_id, user_id, turn_id, request, trigger, fingerprint, status, owner, model,
                            heartbeat_at, started_at)
    SELECT id, %(scope_user)s, %(turn_id)s, %(request)s::jsonb, %(trigger)s, %(fingerprint)s, 'streaming',
           %(owner)s, %(model)s, clock_timestamp(), clock_timestamp()
      FROM thread
     WHERE NOT EXISTS (SELECT FROM chat_turns q WHERE q.thread_id = thread.id AND q.status = 'queued')
    ON CONFLICT DO NOTHING
    RETURNING *, pg_notify('{THREAD_CHANNEL}', thread_id::text)
){{quota}}, {
    MESSAGES.format(
        has_user_message="%(has_user_message)s",
        user_parts="%(user_parts)s::jsonb",
        client_id="%(client_id)s",
        title="%(title)s",
    )
}
SELECT {TURN_COLUMNS},
       coalesce((SELECT id FROM message WHERE role = 'user'), {message_id("user")}) AS user_message_id,
       (SELECT id FROM message WHERE role = 'assistant') AS assistant_message_id
  FROM turn t
"""
BEGIN = f"""
WITH thread AS (
    SELECT id FROM chat_threads WHERE id = %(thread)s AND {VISIBLE_THREAD} {{within}} FOR NO KEY UPDATE
{FROM_THREAD}"""
BEGIN_IN_NEW_THREAD = f"""
WITH thread AS (
    INSERT INTO chat_threads (owner_id, client_id, title)
    SELECT %(scope_user)s, %(name)s, %(title)s
     WHERE NOT EXISTS (SELECT FROM chat_threads WHERE id = %(id)s AND owner_id = %(scope_user)s) {{within}}
    ON CONFLICT (owner_id, client_id) DO NOTHING RETURNING id
{FROM_THREAD}"""
