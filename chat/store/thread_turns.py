"""The turns of threads that somebody watches, for all watchers of a process at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from chat.store.messages import ENDED_SQL
from chat.store.sql import rows
from chat.store.turns import TURN_COLUMNS, StoredTurn, message_id, stored_turn


def last_turns(threads: Collection[UUID]) -> dict[UUID, int]:
    """The number of each thread's newest turn; 0 where it has none."""
    found = rows(
        "SELECT thread_id, max(id) AS last FROM chat_turns WHERE thread_id = ANY (%(threads)s::uuid[]) GROUP BY 1",
        threads=list(threads),
    )
    return dict.fromkeys(threads, 0) | {one["thread_id"]: one["last"] for one in found}


def turns_since(positions: Mapping[UUID, int], unended: Collection[int] = ()) -> list[StoredTurn]:
    """The turns of each thread behind a turn's number, those that have not ended whatever their number, and the
    ``unended`` ones, which may have ended since: in the order in which they began to wait or to run.

    For watchers who were let in before: no scope. Without the requests, which may be long.
    """
    columns = TURN_COLUMNS.replace("t.request", "'{}'::jsonb AS request")
    found = rows(
        f"""
        WITH watched AS (
            SELECT * FROM unnest(string_to_array(%(threads)s, ',')::uuid[],
                                 string_to_array(%(positions)s, ',')::bigint[]) AS w (thread, position)
        ), wanted AS (
            SELECT t.id FROM watched w JOIN chat_turns t ON t.thread_id = w.thread
             WHERE t.id > w.position OR t.status NOT IN ({ENDED_SQL})
            UNION SELECT unnest(string_to_array(%(unended)s, ',')::bigint[])
        )
        SELECT {columns},
               {message_id("user")} AS user_message_id, {message_id("assistant")} AS assistant_message_id
          FROM chat_turns t JOIN wanted ON wanted.id = t.id ORDER BY t.id
        """,
        threads=",".join(map(str, positions)),
        positions=",".join(map(str, positions.values())),
        unended=",".join(map(str, unended)),
    )
    return [stored_turn(one) for one in found]
