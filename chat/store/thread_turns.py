"""The turns of threads that somebody watches, for all watchers of a process at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from chat.store.messages import BUSY_SQL
from chat.store.sql import rows
from chat.store.turns import TURN_COLUMNS, StoredTurn, message_id, stored_turn

# How many turns before one are looked through for those that waited when it began: however long a thread is.
LOOKED_THROUGH = 200
OVERTAKEN = """
SELECT id FROM (
    SELECT id, coalesce(started_at, finished_at) AS moved_at FROM chat_turns
     WHERE thread_id = %(thread)s AND id < %(turn)s ORDER BY id DESC LIMIT %(most)s) before
 WHERE moved_at > (SELECT started_at FROM chat_turns WHERE id = %(turn)s)
"""


def last_turns(threads: Collection[UUID]) -> dict[UUID, int]:
    """The number of each thread's newest turn; 0 where it has none."""
    found = rows(
        """
        SELECT w.thread, coalesce((SELECT max(t.id) FROM chat_turns t WHERE t.thread_id = w.thread), 0) AS last
          FROM unnest(%(threads)s::uuid[]) AS w (thread)
        """,
        threads=list(threads),
    )
    return {one["thread"]: one["last"] for one in found}


def turns_missed(thread: UUID, turn: int) -> list[StoredTurn]:
    """What a watcher has missed who was at that turn of the thread: what became of it, and the turns that began, were
    cancelled or came to wait behind it. Their numbers are higher, but of those that it has overtaken: a turn that stops
    another one (``on_busy: stop``) begins before all that wait.
    """
    overtaken = rows(OVERTAKEN, thread=thread, turn=turn, most=LOOKED_THROUGH)
    return turns_since({thread: turn}, [turn, *(one["id"] for one in overtaken)])


def turns_since(positions: Mapping[UUID, int], unended: Collection[int] = ()) -> list[StoredTurn]:
    """The turns of each thread behind a turn's number, those that have not ended whatever their number, and the
    ``unended`` ones, which may have ended since: in the order in which they began to wait or to run.

    For watchers who were let in before: no scope. Without the requests, which may be long. Each branch has an index:
    however long the threads are, only what is asked for is read.
    """
    columns = TURN_COLUMNS.replace("t.request", "'{}'::jsonb AS request")
    found = rows(
        f"""
        WITH watched AS (
            SELECT * FROM unnest(string_to_array(%(threads)s, ',')::uuid[],
                                 string_to_array(%(positions)s, ',')::bigint[]) AS w (thread, position)
        ), wanted AS MATERIALIZED (
            SELECT found.id FROM watched w CROSS JOIN LATERAL (
                SELECT t.id FROM chat_turns t WHERE t.thread_id = w.thread AND t.id > w.position
                UNION ALL
                SELECT t.id FROM chat_turns t WHERE t.thread_id = w.thread AND t.status IN ({BUSY_SQL})
                UNION ALL
                SELECT t.id FROM chat_turns t WHERE t.thread_id = w.thread AND t.status = 'queued'
            ) found
            UNION SELECT unnest(string_to_array(%(unended)s, ',')::bigint[])
        )
        SELECT {columns},
               {message_id("user")} AS user_message_id, {message_id("assistant")} AS assistant_message_id
          FROM wanted JOIN chat_turns t ON t.id = wanted.id ORDER BY t.id
        """,
        threads=",".join(map(str, positions)),
        positions=",".join(map(str, positions.values())),
        unended=",".join(map(str, unended)),
    )
    return [stored_turn(one) for one in found]
