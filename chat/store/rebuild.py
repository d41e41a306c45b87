"""The way back from phase ``mirror_only``: arrays built anew from the mirror."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from chat.store.locked_chats import LockedChats, patiently
from chat.store.reconcile import Step
from chat.store.reconcile_range import BEFORE_ALL, Range
from chat.store.sql import rows


@dataclass(frozen=True, slots=True)
class _Stored:
    """A chat, and the bytes of its history where it is larger: in the array or in the mirror's rows."""

    id: UUID
    size: int


def rebuild(chosen: Range, *, batch_size: int = 200) -> Iterator[Step]:
    """Make the arrays of these chats what the mirror says, in the order of its ``seq``, and mark them as no longer
    behind. What of an array can be no row, because it is no object or repeats an id, stays behind the message behind
    which it stood; a repeated id goes where its message is gone. Each step is committed.

    Raises one of ``store.sql.UNAVAILABLE`` when the database stays away.
    """
    locks = LockedChats(also_behind=True)
    after = BEFORE_ALL
    while found := patiently(
        partial(rows, NEXT.format(condition=chosen.condition), after=after, limit=batch_size, **chosen.parameters)
    ):
        after = found[-1]["id"]
        yield from locks.each([_Stored(one["id"], one["size"]) for one in found], _rebuilt)
        yield Step(len(locks.busy), busy=[*locks.busy], locked=[*locks.held])
        locks.busy.clear()
        locks.held.clear()


def _rebuilt(chats: Sequence[UUID]) -> Step:
    found = rows(REBUILD, chats=list(chats))
    return Step(len(chats), sum(one["elements"] for one in found), rebuilt=sum(one["changed"] for one in found))


NEXT = """
SELECT c.id, greatest(pg_column_size(c.messages),
                      (SELECT coalesce(sum(pg_column_size(m.content)), 0) FROM copilot_chat_messages m
                        WHERE m.chat_id = c.id))::bigint AS size
  FROM copilot_chats c
 WHERE c.id > %(after)s AND {condition}
 ORDER BY c.id LIMIT %(limit)s
"""
# ``place`` counts the rows. What can be no row gets the place of the last element in front of it that has a row, and
# of its own message where that stands further behind: so the first of a repeated id remains the first.
REBUILD = """
WITH history AS (
    SELECT m.chat_id, m.message_id, m.content,
           row_number() OVER (PARTITION BY m.chat_id ORDER BY m.seq, m.created_at, m.id) AS place
      FROM copilot_chat_messages m WHERE m.chat_id = ANY (%(chats)s::uuid[]) AND m.deleted_at IS NULL
), earlier AS (
    SELECT c.id AS chat_id, e.idx, e.content, e.message_id, h.place,
           e.message_id IS NOT NULL
           AND row_number() OVER (PARTITION BY c.id, e.message_id ORDER BY e.idx) = 1 AS is_first
      FROM copilot_chats c CROSS JOIN LATERAL copilot_elements(c.messages, c.created_at) e
      LEFT JOIN history h ON h.chat_id = c.id AND h.message_id = e.message_id
     WHERE c.id = ANY (%(chats)s::uuid[])
), runs AS (
    SELECT e.*, count(CASE WHEN is_first THEN place END) OVER (PARTITION BY chat_id ORDER BY idx) AS run FROM earlier e
), anchored AS (
    SELECT r.*, max(CASE WHEN is_first THEN place END) OVER (PARTITION BY chat_id, run) AS anchor FROM runs r
), entries AS (
    SELECT chat_id, content, place, -1 AS idx FROM history
    UNION ALL
    SELECT chat_id, content, greatest(anchor, place, 0), idx FROM anchored
     WHERE message_id IS NULL OR (NOT is_first AND place IS NOT NULL)
), arrays AS (
    SELECT chat_id, jsonb_agg(content ORDER BY place, idx) AS messages, count(*) AS elements
      FROM entries GROUP BY chat_id
), compared AS (
    SELECT c.id, coalesce(a.messages, '[]') AS messages, coalesce(a.elements, 0) AS elements,
           coalesce(a.messages, '[]') <> c.messages AS changed
      FROM copilot_chats c LEFT JOIN arrays a ON a.chat_id = c.id WHERE c.id = ANY (%(chats)s::uuid[])
), written AS (
    UPDATE copilot_chats c
       SET messages = n.messages, messages_version = c.messages_version + 1, array_behind = false
      FROM compared n WHERE c.id = n.id AND n.changed
), cleared AS (
    UPDATE copilot_chats c SET array_behind = false
      FROM compared n WHERE c.id = n.id AND NOT n.changed AND c.array_behind
)
SELECT id, elements, changed FROM compared
"""
