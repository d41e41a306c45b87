"""The beginning of a turn: one transaction, whoever races."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Required, TypedDict, Unpack

from chat.errors import Contention, ThreadBusy, ThreadNotFound, TurnConflict
from chat.store import turn_news
from chat.store.messages import BUSY_SQL, FRESH
from chat.store.quotas import admitted, limits_of, refuse
from chat.store.scope import WRITABLE_THREAD, Scope
from chat.store.sql import ATTEMPTS, encoded
from chat.store.threads import find_thread, require_not_deleted, require_writable, thread_uuid
from chat.store.turns import THREAD_CHANNEL, TURN_COLUMNS, StoredTurn, find, message_id, stored_turn
from chat.store.versions import Revision


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
    default_model: str
    owner: str
    title: str
    revises: Revision | None


def begin_turn(scope: Scope, thread_id: uuid.UUID, turn_id: str, **wanted: Unpack[Wanted]) -> StoredTurn:
    """Turn, user row and shell in one transaction of one statement; ``created`` is False for a turn there was.

    Races, each decided by a unique index under the lock of the thread's row:

    - the same turn id again (a retry, a second tab): the turn there is, nothing written; TurnConflict where its
      fingerprint is another one;
    - another turn is busy, or waits and was here first: ThreadBusy with its ``turn``, ``status`` and ``cursor``,
      nothing written;
    - a legacy append wrote the user row first: its id stays, the text becomes this one's;
    - other turns of the asker's begin, in any thread: QuotaExceeded for those that are one too many, nothing written.

    ``title`` names a thread that has no title yet, and is the turn's ``title`` then. Without a ``model`` it is the one
    in the thread's metadata, else ``default_model``. A turn that ``revises`` an edited message puts it in the place of
    what it edits and of all that followed, at once; one that revises an answer leaves that current until its own is
    complete. Raises ThreadNotFound; Contention, for a revision also when its target is no longer current.
    """
    values = _values(scope, turn_id, **wanted)
    revises = wanted.get("revises")
    statement = BEGIN if revises is None else REVISE[revises.is_edit]
    limits = limits_of(scope.user_id)
    for _ in range(ATTEMPTS if revises is None else 1):  # what is revised may be another version by now
        made = admitted(statement, limits, thread=thread_id, **values)
        if made is not None:
            return turn_news.started(stored_turn(made, created=True))
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
        require_writable(scope, thread_id)
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
            return turn_news.started(stored_turn(made, created=True))
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
    default_model: str = "",
    owner: str = "",
    title: str = "",
    revises: Revision | None = None,
) -> dict[str, Any]:
    return (revises.parameters() if revises else {}) | {
        "scope_user": scope.user_id,
        "turn_id": turn_id,
        "request": encoded(request),
        "trigger": trigger,
        "fingerprint": fingerprint,
        "owner": owner,
        "model": model,
        "default_model": default_model,
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


# The model of a new turn: what the client named, else what its thread did, else the default.
MODEL = """coalesce(nullif(%(model)s::text, ''),
                    (SELECT left(h.metadata ->> 'model', 200) FROM chat_threads h WHERE h.id = {thread}),
                    %(default_model)s::text)"""
# The last message of a thread: what a new one follows.
LAST = """(SELECT max(last.id) FROM chat_messages last
             WHERE last.thread_id = turn.thread_id AND last.is_current AND last.deleted_at IS NULL)"""
# The rows of a turn that begins: wants ``turn`` as a CTE. The conflict clause repeats the index's predicate literally:
# as a bound parameter it fails from the 11th execution on, under a generic plan.
CONFLICT = (
    "ON CONFLICT (thread_id, turn_id, role) WHERE turn_id IS NOT NULL DO UPDATE SET updated_at = clock_timestamp()"
)
MESSAGES = (
    """asked AS (
    INSERT INTO chat_messages (thread_id, turn_id, role, parts, author_id, client_id, parent_id, version_of_id)
    SELECT turn.thread_id, turn.turn_id, 'user', {user_parts}, turn.user_id, ({client_id})::varchar,
           {asked_parent}, {edit_of}
      FROM turn WHERE {has_user_message}
    """
    + CONFLICT
    + """, parts = EXCLUDED.parts, author_id = EXCLUDED.author_id, client_id = EXCLUDED.client_id,
                  metadata = chat_messages.metadata - 'appended'{asked_again}
    RETURNING id, thread_id, role
), answer AS (
    INSERT INTO chat_messages (thread_id, turn_id, role, model, parent_id, version_of_id, is_current, current_at)
    SELECT turn.thread_id, turn.turn_id, 'assistant', turn.model, {answer_parent}, {answer_of}, {is_current},
           CASE WHEN {is_current} THEN clock_timestamp() END
      FROM turn
    """
    + CONFLICT
    + """, model = EXCLUDED.model, parts = EXCLUDED.parts, metadata = chat_messages.metadata - 'appended'
    RETURNING id, thread_id, role
), message AS (
    SELECT * FROM asked UNION ALL SELECT * FROM answer
), activity AS (
    UPDATE chat_threads
       SET updated_at = clock_timestamp(), title = CASE WHEN title = '' THEN {title} ELSE title END
     WHERE id IN (SELECT thread_id FROM message)
)"""
)
# Behind the user message that is written with it, or behind whatever is last.
FOLLOWS = {
    "asked_parent": LAST,
    "edit_of": "NULL::bigint",
    "asked_again": "",
    "answer_parent": f"greatest((SELECT id FROM asked), {LAST})",
    "answer_of": "NULL::bigint",
    "is_current": "true",
}
SENT = {
    "has_user_message": "%(has_user_message)s",
    "user_parts": "%(user_parts)s::jsonb",
    "client_id": "%(client_id)s",
    "title": "%(title)s",
}
# What an edit replaces goes first: one of a message's followers is current, at every moment. Not the edit itself, where
# an older client has appended it at the end: it is moved to its place.
SUPERSEDED = """superseded AS (
    UPDATE chat_messages m SET is_current = false, updated_at = clock_timestamp() FROM turn
     WHERE m.thread_id = turn.thread_id AND m.id >= %(target)s AND m.is_current AND m.deleted_at IS NULL
       AND m.turn_id IS DISTINCT FROM turn.turn_id
    RETURNING m.id
), """
EDIT = FOLLOWS | {
    "asked_parent": "nullif(%(parent)s::bigint, 0 * (SELECT count(*) FROM superseded))",  # the parent, after those
    "edit_of": "%(first_version)s::bigint",
    "asked_again": ", parent_id = EXCLUDED.parent_id, version_of_id = EXCLUDED.version_of_id",
    "answer_parent": "(SELECT id FROM asked)",
}
REGENERATE = FOLLOWS | {
    "answer_parent": "%(parent)s::bigint",
    "answer_of": "%(first_version)s::bigint",
    "is_current": "false",
}


def _from_thread(
    messages: dict[str, str], *, when: str = "true", superseded: str = "", replaces: str = "NULL::bigint"
) -> str:
    # The conflict clause of the turn names no index on purpose: the turn id again and a busy thread both mean "not
    # made", and the statements behind it tell which. For ``admitted``: it has the places {within} and {quota}.
    return f"""
), turn AS (
    INSERT INTO chat_turns (thread_id, user_id, turn_id, request, trigger, fingerprint, status, owner, model,
                            heartbeat_at, started_at, replaces_id)
    SELECT id, %(scope_user)s, %(turn_id)s, %(request)s::jsonb, %(trigger)s, %(fingerprint)s, 'streaming',
           %(owner)s, {MODEL.format(thread="thread.id")}, clock_timestamp(), clock_timestamp(), {replaces}
      FROM thread
     WHERE NOT EXISTS (SELECT FROM chat_turns q WHERE q.thread_id = thread.id AND q.status = 'queued') AND {when}
    ON CONFLICT DO NOTHING
    RETURNING *, pg_notify('{THREAD_CHANNEL}', thread_id::text)
){{quota}}, {superseded}{MESSAGES.format(**SENT, **messages)}
SELECT {TURN_COLUMNS},
       coalesce((SELECT id FROM message WHERE role = 'user'), {message_id("user")}) AS user_message_id,
       (SELECT id FROM message WHERE role = 'assistant') AS assistant_message_id,
       (SELECT given FROM thread) AS title
  FROM turn t
"""


IN_THREAD = f"""
WITH thread AS (
    SELECT id, updated_at, CASE WHEN title = '' THEN %(title)s::varchar ELSE '' END AS given FROM chat_threads
     WHERE id = %(thread)s AND {WRITABLE_THREAD} {{within}} FOR NO KEY UPDATE
"""
BEGIN = IN_THREAD + _from_thread(FOLLOWS, when=FRESH)
BEGIN_IN_NEW_THREAD = """
WITH thread AS (
    INSERT INTO chat_threads (owner_id, client_id, title)
    SELECT %(scope_user)s, %(name)s, %(title)s
     WHERE NOT EXISTS (SELECT FROM chat_threads WHERE id = %(id)s AND owner_id = %(scope_user)s) {within}
    ON CONFLICT (owner_id, client_id) DO NOTHING RETURNING id, title AS given
""" + _from_thread(FOLLOWS)
STILL_CURRENT = f"""{FRESH} AND EXISTS (
           SELECT FROM chat_messages m WHERE m.id = %(target)s AND m.is_current AND m.deleted_at IS NULL)"""
REPLACED_TURN = "%(replaced_turn)s::bigint"
# By whether it is an edit, else another answer.
REVISE = {
    True: IN_THREAD + _from_thread(EDIT, when=STILL_CURRENT, superseded=SUPERSEDED, replaces=REPLACED_TURN),
    False: IN_THREAD + _from_thread(REGENERATE, when=STILL_CURRENT, replaces=REPLACED_TURN),
}
