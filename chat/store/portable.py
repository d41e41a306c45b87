"""Threads as a whole: read for an export, written by an import or a fork."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from chat.errors import Contention, ThreadBusy
from chat.protocol.portable.conversation import Conversation, Said
from chat.store.copilot import FORK_PREFIX
from chat.store.messages import BUSY_SQL, ENDED_SQL
from chat.store.scope import OWNED_THREAD, Scope
from chat.store.sql import Row, decoded, encoded, key_type, one_transaction, row, rows
from chat.store.threads import read_thread, thread_uuid
from chat.store.versions import current_version

BATCH = 500


def read_whole(scope: Scope, thread_id: uuid.UUID) -> Row:
    """A thread with all versions of its messages and how their turns ended, without what is still being answered.
    Raises ThreadNotFound.

    Race: a turn that ends between the two statements. The turns come first, and what has ended does not change: of a
    turn that is not among them no message is taken.
    """
    thread = read_thread(scope, thread_id)
    turns = rows(TURNS, thread=thread_id)
    messages = rows(MESSAGES, thread=thread_id, ended=encoded([turn["turn_id"] for turn in turns]))
    kept = ("id", "client_id", "title", "metadata", "created_at", "updated_at", "archived_at")
    return {
        **{name: thread[name] for name in kept},
        "messages": [one | {name: decoded(one[name]) for name in ("parts", "metadata", "usage")} for one in messages],
        "turns": turns,
    }


def own_threads(scope: Scope) -> Iterator[uuid.UUID]:
    """The asker's own threads."""
    after = uuid.UUID(int=0)
    while found := rows(
        f"SELECT id FROM chat_threads WHERE {OWNED_THREAD} AND id > %(after)s ORDER BY id LIMIT 200",
        scope_user=scope.user_id,
        after=after,
    ):
        yield from (one["id"] for one in found)
        after = found[-1]["id"]


def write_conversation(scope: Scope, conversation: Conversation) -> tuple[uuid.UUID, bool]:
    """A thread of the asker's out of a conversation, in one transaction: its id, and whether it is new.

    Race: the same import twice at once. The unique (owner, client_id) lets one write; the other one finds the thread,
    also where it is in the trash.
    """
    with one_transaction():
        made = _write(scope, conversation, conversation.name)
        if made is not None:
            return made, True
        there = row(
            """
            SELECT id FROM chat_threads
             WHERE owner_id = %(scope_user)s AND (client_id = %(name)s OR id = %(original)s)
            """,
            scope_user=scope.user_id,
            name=conversation.name,
            original=_original(conversation.name),
        )
    if there is None:
        raise Contention  # it was purged in this moment
    return there["id"], False


def fork_thread(scope: Scope, thread_id: uuid.UUID, name: str, title: str | None = None) -> Row:
    """A new thread of the asker's with the history up to and with the message ``name``: any version's id, or the
    client's own name for it. What followed it stays behind, and so do turns and usage.

    Raises ThreadNotFound, MessageNotFound; ThreadBusy for an answer that is still being written.
    """
    with one_transaction():
        thread = read_thread(scope, thread_id)
        path = rows(PATH, message=_version(scope, thread_id, name))
        if path[-1]["is_busy"]:
            raise ThreadBusy("This answer is still being written.")
        said = [
            Said(
                key=str(one["id"]),
                parent=str(before["id"]) if before else None,
                role=one["role"],
                parts=decoded(one["parts"]),
                current_at=one["created_at"],
                created_at=one["created_at"],
                metadata=decoded(one["metadata"]),
                model=one["model"],
                client_id=one["client_id"],
                author=one["author_id"],
            )
            for before, one in zip([None, *path], path, strict=False)
        ]
        metadata = thread["metadata"] | {"forked_from": {"thread": str(thread_id), "message": said[-1].key}}
        named = title if title is not None else FORK_PREFIX + thread["title"].removeprefix(FORK_PREFIX)
        made = _write(scope, Conversation("", named[:200], said, metadata=metadata), None)
        assert made is not None  # without a name of the client's there is nothing to run into
        return read_thread(scope, made)


def _version(scope: Scope, thread_id: uuid.UUID, name: str) -> int:
    if name.isascii() and name.isdecimal() and len(name) < 19:
        found = row(
            """
            SELECT id FROM chat_messages
             WHERE id = %(id)s AND thread_id = %(thread)s AND current_at IS NOT NULL AND deleted_at IS NULL
            """,
            id=int(name),
            thread=thread_id,
        )
        if found is not None:
            return int(found["id"])
    return current_version(scope, thread_id, name).id


def _write(scope: Scope, conversation: Conversation, client_id: str | None) -> uuid.UUID | None:
    thread = row(
        MAKE_THREAD,
        scope_user=scope.user_id,
        client_id=client_id,
        original=_original(client_id) if client_id else None,
        title=conversation.title,
        metadata=encoded(conversation.metadata),
        archived_at=conversation.archived_at,
        created_at=conversation.created_at,
        updated_at=conversation.updated_at,
    )
    if thread is None:
        return None
    made: uuid.UUID = thread["id"]
    ended = {turn["turn_id"] for turn in conversation.turns}
    numbers = [one["id"] for one in rows(NUMBERS, count=len(conversation.messages))]
    ids = {said.key: number for said, number in zip(conversation.messages, sorted(numbers), strict=True)}
    for place in range(0, len(conversation.messages), BATCH):
        batch = [_row_of(said, ids, ended) for said in conversation.messages[place : place + BATCH]]
        rows(ADD_MESSAGES.format(key=key_type()), thread=made, scope_user=scope.user_id, batch=encoded(batch))
    if conversation.turns:
        rows(ADD_TURNS, thread=made, scope_user=scope.user_id, batch=encoded(conversation.turns))
    return made


def _original(name: str) -> uuid.UUID | None:
    """The thread itself, where an export comes back to its owner."""
    return thread_uuid(name.removeprefix("import:")) if name.startswith("import:") else None


def _row_of(said: Said, ids: dict[str, int], ended: set[str]) -> dict[str, Any]:
    return {
        "id": ids[said.key],
        "parent_id": ids[said.parent] if said.parent else None,
        "version_of_id": ids[said.version_of] if said.version_of else None,
        # A turn id without a turn would be taken for one that is still to begin.
        "turn_id": said.turn_id if said.turn_id in ended else None,
        "role": said.role,
        "parts": said.parts,
        "client_id": said.client_id,
        "author": None if said.author is None else str(said.author),
        "model": said.model,
        "metadata": said.metadata,
        "is_current": said.is_current,
        "current_at": said.current_at,
        "created_at": said.created_at,
    }


TURNS = f"""
SELECT turn_id, status, trigger, model, finish_reason, error_code, error_text, created_at, started_at, finished_at
  FROM chat_turns WHERE thread_id = %(thread)s AND status IN ({ENDED_SQL}) ORDER BY id
"""
MESSAGES = """
SELECT m.id::text, m.parent_id::text AS parent, m.version_of_id::text AS version_of, m.role, m.parts::text AS parts,
       m.metadata::text AS metadata, m.model, m.client_id, m.turn_id, m.is_current, m.current_at, m.created_at,
       CASE WHEN u.id IS NULL THEN 'null' ELSE jsonb_build_object(
           'prompt_tokens', u.prompt_tokens, 'completion_tokens', u.completion_tokens,
           'total_tokens', u.total_tokens, 'cached_tokens', u.cached_tokens, 'reasoning_tokens', u.reasoning_tokens,
           'cost_micros', u.cost_micros, 'source', u.source)::text END AS usage
  FROM chat_messages m
  LEFT JOIN token_usage u ON u.message_id = m.id
 WHERE m.thread_id = %(thread)s AND m.deleted_at IS NULL
   AND (m.turn_id IS NULL OR %(ended)s::jsonb ? m.turn_id
        OR NOT EXISTS (SELECT FROM chat_turns t WHERE t.thread_id = m.thread_id AND t.turn_id = m.turn_id))
 ORDER BY m.id
"""
PATH = f"""
WITH RECURSIVE path AS (
    SELECT id, parent_id, 0 AS place FROM chat_messages WHERE id = %(message)s
    UNION ALL SELECT m.id, m.parent_id, place + 1 FROM path JOIN chat_messages m ON m.id = path.parent_id
)
SELECT m.id, m.role, m.parts::text AS parts, m.metadata::text AS metadata, m.model, m.client_id, m.author_id,
       m.created_at, m.role = 'assistant' AND EXISTS (
           SELECT FROM chat_turns t
            WHERE t.thread_id = m.thread_id AND t.turn_id = m.turn_id AND t.status IN ({BUSY_SQL})) AS is_busy
  FROM path JOIN chat_messages m ON m.id = path.id ORDER BY path.place DESC
"""
MAKE_THREAD = """
INSERT INTO chat_threads (owner_id, client_id, title, metadata, archived_at, created_at, updated_at)
SELECT %(scope_user)s, %(client_id)s, %(title)s, %(metadata)s::jsonb, %(archived_at)s,
       coalesce(%(created_at)s, clock_timestamp()),
       coalesce(%(updated_at)s::timestamptz, %(created_at)s::timestamptz, clock_timestamp())
 WHERE NOT EXISTS (SELECT FROM chat_threads WHERE id = %(original)s AND owner_id = %(scope_user)s)
ON CONFLICT (owner_id, client_id) DO NOTHING RETURNING id
"""
NUMBERS = """
SELECT nextval(pg_get_serial_sequence('chat_messages', 'id')) AS id FROM generate_series(1, %(count)s)
"""
ADD_MESSAGES = """
INSERT INTO chat_messages (id, thread_id, turn_id, role, parts, author_id, client_id, model, metadata, is_current,
                           current_at, parent_id, version_of_id, created_at)
SELECT id, %(thread)s, turn_id, role, parts,
       CASE role WHEN 'user' THEN coalesce(author::{key}, %(scope_user)s) END,
       client_id, model, metadata,
       is_current, CASE WHEN is_current THEN coalesce(current_at, created_at, clock_timestamp()) ELSE current_at END,
       parent_id, version_of_id, coalesce(created_at, clock_timestamp())
  FROM jsonb_to_recordset(%(batch)s::jsonb) AS r (
       id bigint, parent_id bigint, version_of_id bigint, turn_id text, role text, parts jsonb, client_id text,
       author text, model text, metadata jsonb, is_current boolean, current_at timestamptz, created_at timestamptz)
"""
ADD_TURNS = """
INSERT INTO chat_turns (thread_id, user_id, turn_id, request, trigger, fingerprint, status, model, finish_reason,
                        error_code, error_text, created_at, started_at, finished_at)
SELECT %(thread)s, %(scope_user)s, turn_id, '{}', trigger, '', status, model, finish_reason, error_code, error_text,
       coalesce(created_at, clock_timestamp()), started_at, coalesce(finished_at, created_at, clock_timestamp())
  FROM jsonb_to_recordset(%(batch)s::jsonb) AS r (
       turn_id text, trigger text, status text, model text, finish_reason text, error_code text, error_text text,
       created_at timestamptz, started_at timestamptz, finished_at timestamptz)
"""
