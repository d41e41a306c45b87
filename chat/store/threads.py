"""Threads: found, made, listed, renamed, archived, deleted."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chat.errors import Contention, ReadOnly, ThreadNotFound
from chat.store.scope import OWNED_THREAD, VISIBLE_THREAD, WRITABLE_THREAD, Scope
from chat.store.search import NEWEST, query_of
from chat.store.sql import ATTEMPTS, Row, decoded, encoded, row, rows

COLUMNS = f"""id, owner_id, client_id, title, metadata, archived_at, created_at, updated_at,
       {WRITABLE_THREAD} AS may_write"""


def thread_uuid(name: str) -> uuid.UUID | None:
    """``name`` as a thread's own id, or None when it can only be a client's name for one."""
    try:
        return uuid.UUID(name)
    except ValueError:
        return None


def find_thread(scope: Scope, name: str) -> uuid.UUID:
    """The id of the thread that ``name`` means to this asker: its own id, or the id the owner's client chose.

    Raises ThreadNotFound, also for a thread of somebody else and for a deleted one.
    """
    found = row(
        f"""
        SELECT id FROM chat_threads
         WHERE {VISIBLE_THREAD}
           AND (id = %(id)s OR (owner_id = %(scope_user)s AND client_id = %(name)s))
         ORDER BY id = %(id)s DESC LIMIT 1
        """,
        scope_user=scope.user_id,
        id=thread_uuid(name),
        name=name,
    )
    if found is None:
        raise ThreadNotFound
    return found["id"]  # type: ignore[no-any-return]


def open_thread(scope: Scope, name: str) -> uuid.UUID:
    """``find_thread``, and where there is none a new thread of the asker's under that name.

    Race: two first sends at once. The unique (owner, client_id) lets one insert; the other one's next look sees
    it. Raises ThreadNotFound when the name belongs to a thread that its owner deleted.
    """
    for _ in range(ATTEMPTS):
        try:
            return find_thread(scope, name)
        except ThreadNotFound:
            made = row(
                """
                INSERT INTO chat_threads (owner_id, client_id)
                SELECT %(scope_user)s, %(name)s
                 WHERE NOT EXISTS (SELECT FROM chat_threads WHERE id = %(id)s AND owner_id = %(scope_user)s)
                ON CONFLICT (owner_id, client_id) DO NOTHING RETURNING id
                """,
                scope_user=scope.user_id,
                name=name,
                id=thread_uuid(name),
            )
            if made is not None:
                return made["id"]  # type: ignore[no-any-return]
            require_not_deleted(scope, name)
    raise Contention


def require_not_deleted(scope: Scope, name: str) -> None:
    """Raises ThreadNotFound when the name belongs to a thread that its owner, the asker, deleted."""
    if row(
        """
        SELECT 1 FROM chat_threads
         WHERE owner_id = %(scope_user)s AND (client_id = %(name)s OR id = %(id)s) AND deleted_at IS NOT NULL
        """,
        scope_user=scope.user_id,
        name=name,
        id=thread_uuid(name),
    ):
        raise ThreadNotFound("This thread was deleted.") from None


def create_thread(scope: Scope, *, title: str = "", client_id: str | None = None, metadata: Any = None) -> Row:
    """A new thread; with a ``client_id`` that the owner used before, that thread."""
    if client_id is not None:
        thread_id = open_thread(scope, client_id)
        if title or metadata:
            return update_thread(scope, thread_id, title=title or None, metadata=metadata)
        return read_thread(scope, thread_id)
    made = row(
        f"""
        INSERT INTO chat_threads (owner_id, title, metadata)
        VALUES (%(scope_user)s, %(title)s, %(metadata)s::jsonb) RETURNING {COLUMNS}
        """,
        scope_user=scope.user_id,
        title=title,
        metadata=encoded(metadata or {}),
    )
    assert made is not None
    return thread_of_row(made)


def require_thread(scope: Scope, thread_id: uuid.UUID) -> None:
    """Raises ThreadNotFound unless the asker may see this thread."""
    read_thread(scope, thread_id)


def require_writable(scope: Scope, thread_id: uuid.UUID) -> None:
    """Raises ThreadNotFound unless the asker may see this thread, ReadOnly unless they may write in it."""
    if not read_thread(scope, thread_id)["may_write"]:
        raise ReadOnly


def read_thread(scope: Scope, thread_id: uuid.UUID) -> Row:
    """One thread. Raises ThreadNotFound."""
    return _found(
        row(
            f"SELECT {COLUMNS} FROM chat_threads WHERE id = %(id)s AND {VISIBLE_THREAD}",
            id=thread_id,
            scope_user=scope.user_id,
        )
    )


def update_thread(
    scope: Scope,
    thread_id: uuid.UUID,
    *,
    title: str | None = None,
    metadata: Any = None,
    archived: bool | None = None,
) -> Row:
    """Change what is not None. Who may write a thread may rename it; the rest is its owner's. Renaming or archiving is
    no activity: ``updated_at`` stays. Raises ThreadNotFound, ReadOnly.
    """
    return _changed(
        scope,
        thread_id,
        row(
            f"""
            UPDATE chat_threads
               SET title = coalesce(%(title)s, title),
                   metadata = coalesce(%(metadata)s::jsonb, metadata),
                   archived_at = CASE WHEN %(archived)s::boolean IS NULL THEN archived_at
                                      WHEN %(archived)s THEN coalesce(archived_at, clock_timestamp()) END
             WHERE id = %(id)s AND {WRITABLE_THREAD if metadata is archived is None else OWNED_THREAD}
            RETURNING {COLUMNS}
            """,
            id=thread_id,
            scope_user=scope.user_id,
            title=title,
            metadata=None if metadata is None else encoded(metadata),
            archived=archived,
        ),
    )


def replace_title(thread_id: uuid.UUID, title: str, *, instead_of: str) -> bool:
    """Give a thread another title in the place of the one that it was given by itself; False where somebody has given
    it one meanwhile, or deleted it. For the run of its first turn, which asks in nobody's name.

    Race: a person who names the thread at the same time. Compared and set in one statement: the person's title stays.
    """
    return bool(
        rows(
            """
            UPDATE chat_threads SET title = %(title)s
             WHERE id = %(id)s AND title = %(instead_of)s AND deleted_at IS NULL RETURNING id
            """,
            id=thread_id,
            title=title,
            instead_of=instead_of,
        )
    )


def delete_thread(scope: Scope, thread_id: uuid.UUID) -> None:
    """Soft delete, by its owner: the thread is seen nowhere any more, its rows stay. Raises ThreadNotFound,
    ReadOnly.
    """
    _changed(
        scope,
        thread_id,
        row(
            f"""
            UPDATE chat_threads SET deleted_at = clock_timestamp()
             WHERE id = %(id)s AND {OWNED_THREAD} RETURNING {COLUMNS}
            """,
            id=thread_id,
            scope_user=scope.user_id,
        ),
    )


@dataclass(frozen=True, slots=True)
class ThreadPosition:
    """Where a page of the list begins: behind the thread with this activity and id."""

    updated_at: datetime
    id: uuid.UUID


def list_threads(
    scope: Scope,
    *,
    after: ThreadPosition | None = None,
    limit: int = 50,
    q: str = "",
    archived: bool | None = False,
    mine: bool = False,
) -> list[Row]:
    """Threads, newest activity first, at most ``limit``. ``q`` is a part of the title, or what a search finds among the
    newest messages that hold it; ``archived`` None takes both kinds; ``mine`` leaves out what others share.
    """
    found = rows(
        f"""
        SELECT {COLUMNS} FROM chat_threads
         WHERE {VISIBLE_THREAD}
           AND (%(updated_at)s::timestamptz IS NULL
                OR updated_at < %(updated_at)s OR (updated_at = %(updated_at)s AND id > %(id)s))
           AND (%(archived)s::boolean IS NULL OR (archived_at IS NOT NULL) = %(archived)s)
           AND (NOT %(mine)s OR owner_id = %(scope_user)s) {FOUND.format(query=query_of(q)) if q else ""}
         ORDER BY updated_at DESC, id LIMIT %(limit)s
        """,
        scope_user=scope.user_id,
        updated_at=after and after.updated_at,
        id=after and after.id,
        archived=archived,
        mine=mine,
        q=q,
        like="%" + q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%",
        newest=NEWEST,
        limit=limit,
    )
    return [thread_of_row(thread) for thread in found]


FOUND = f"""AND (title ILIKE %(like)s OR id IN (
               SELECT hit.thread_id FROM (
                   SELECT s.thread_id FROM chat_search s JOIN chat_threads ON chat_threads.id = s.thread_id
                     LEFT JOIN chat_messages m ON m.id = s.message_id
                    WHERE s.vector @@ {{query}} AND {VISIBLE_THREAD}
                      AND (s.message_id IS NULL OR (m.is_current AND m.deleted_at IS NULL))
                    ORDER BY s.id DESC LIMIT %(newest)s) hit))"""


def thread_of_row(thread: Row) -> Row:
    return {**thread, "metadata": decoded(thread["metadata"])}


def _changed(scope: Scope, thread_id: uuid.UUID, thread: Row | None) -> Row:
    if thread is None:
        read_thread(scope, thread_id)
        raise ReadOnly
    return thread_of_row(thread)


def _found(thread: Row | None) -> Row:
    if thread is None:
        raise ThreadNotFound
    return thread_of_row(thread)
