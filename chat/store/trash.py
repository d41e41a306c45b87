"""What was deleted: restored by its owner, or gone for good."""

from __future__ import annotations

import uuid

from chat.errors import ThreadBusy, ThreadNotFound
from chat.store.messages import BUSY_SQL
from chat.store.scope import Scope
from chat.store.sql import Row, row, rows
from chat.store.threads import ThreadPosition, read_thread, thread_of_row, thread_uuid

COLUMNS = "id, owner_id, client_id, title, metadata, archived_at, created_at, updated_at, deleted_at"
# A thread in the trash is its owner's alone, whoever could see it before.
IN_TRASH = "owner_id = %(scope_user)s AND deleted_at IS NOT NULL"
# What waits in the queue of a deleted thread has no rows, and nobody begins it: it goes with the thread.
NOT_BUSY = f"""NOT EXISTS (
    SELECT FROM chat_turns t WHERE t.thread_id = chat_threads.id
       AND (t.status IN ({BUSY_SQL}) OR (t.status = 'queued' AND chat_threads.deleted_at IS NULL)))"""


# With the files that were attached in them, whose bytes the next sweep takes away.
GONE = """
WITH gone AS (
    DELETE FROM chat_threads WHERE {condition} RETURNING id
), files AS (
    UPDATE chat_attachments SET deleted_at = clock_timestamp() WHERE thread_id IN (SELECT id FROM gone)
)
SELECT id FROM gone
"""


def deleted_threads(scope: Scope, *, after: ThreadPosition | None = None, limit: int = 50) -> list[Row]:
    """The asker's deleted threads, newest activity first."""
    found = rows(
        f"""
        SELECT {COLUMNS}, true AS may_write FROM chat_threads
         WHERE {IN_TRASH}
           AND (%(updated_at)s::timestamptz IS NULL
                OR updated_at < %(updated_at)s OR (updated_at = %(updated_at)s AND id > %(id)s))
         ORDER BY updated_at DESC, id LIMIT %(limit)s
        """,
        scope_user=scope.user_id,
        updated_at=after and after.updated_at,
        id=after and after.id,
        limit=limit,
    )
    return [thread_of_row(one) for one in found]


def restore_thread(scope: Scope, name: str) -> Row:
    """Take a thread of the asker's out of the trash; one that is not in it stays as it is. Raises ThreadNotFound."""
    restored = row(
        f"""
        UPDATE chat_threads SET deleted_at = NULL
         WHERE {IN_TRASH} AND (id = %(id)s OR client_id = %(name)s) RETURNING id
        """,
        scope_user=scope.user_id,
        id=thread_uuid(name),
        name=name,
    )
    if restored is not None:
        return read_thread(scope, restored["id"])
    there = row(
        "SELECT id FROM chat_threads WHERE owner_id = %(scope_user)s AND (id = %(id)s OR client_id = %(name)s)",
        scope_user=scope.user_id,
        id=thread_uuid(name),
        name=name,
    )
    if there is None:
        raise ThreadNotFound
    return read_thread(scope, there["id"])


def find_deleted_thread(scope: Scope, name: str) -> uuid.UUID:
    """The thread of that name in the asker's trash. Raises ThreadNotFound."""
    found = row(
        f"SELECT id FROM chat_threads WHERE {IN_TRASH} AND (id = %(id)s OR client_id = %(name)s)",
        scope_user=scope.user_id,
        id=thread_uuid(name),
        name=name,
    )
    if found is None:
        raise ThreadNotFound
    thread: uuid.UUID = found["id"]
    return thread


def purge_thread(scope: Scope, thread: uuid.UUID) -> None:
    """Delete a thread in the asker's trash for good: messages, turns and logs go with it, usage stays.

    Race: a turn of it that is being ended. It keeps the rows it needs until then: ThreadBusy. One that is gone, or was
    restored, in this moment stays so.
    """
    values = {"scope_user": scope.user_id, "id": thread}
    if row(GONE.format(condition=f"id = %(id)s AND {IN_TRASH} AND {NOT_BUSY}"), **values) is None and row(
        f"SELECT id FROM chat_threads WHERE id = %(id)s AND {IN_TRASH}", **values
    ):
        raise ThreadBusy("A turn of this thread is still being stopped. Try again in a moment.")


def purge_expired(*, deleted_days: float, idle_days: float, most: int = 100) -> list[uuid.UUID]:
    """Delete threads for good that were deleted, or in which nothing has happened, so many days ago (0: never); at most
    ``most`` in one short transaction. Returns their ids; none when there is nothing left to do.

    Race: a send to an idle thread holds its row's lock, moves its activity, and the thread stays. An array is asked for
    once: IN may be asked for each row, and then skips those that are gone and finds ``most`` others.
    """
    found = rows(
        GONE.format(
            condition=f"""id = ANY (ARRAY(
            SELECT id FROM chat_threads
             WHERE ((%(deleted)s > 0 AND deleted_at < clock_timestamp() - make_interval(secs => %(deleted)s * 86400))
                 OR (%(idle)s > 0 AND updated_at < clock_timestamp() - make_interval(secs => %(idle)s * 86400)))
               AND {NOT_BUSY}
             ORDER BY id LIMIT %(most)s FOR UPDATE SKIP LOCKED))"""
        ),
        deleted=deleted_days,
        idle=idle_days,
        most=most,
    )
    return [one["id"] for one in found]
