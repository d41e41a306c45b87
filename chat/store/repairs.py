"""Messages whose stored parts nobody can read: found, and mended."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from chat.protocol.mending import mend, read_stored
from chat.store.messages import ENDED_SQL
from chat.store.sql import Row, encoded, row, rows


@dataclass(frozen=True, slots=True)
class Broken:
    """A message whose parts are not as they should be: ``wrong`` says why, ``mended`` whether they are by now."""

    thread: uuid.UUID
    message: int
    wrong: list[str]
    mended: bool


@dataclass(frozen=True, slots=True)
class Looked:
    """One step: how many messages were looked at, and those of them that are broken."""

    messages: int
    broken: list[Broken] = field(default_factory=list)


def unknown_threads(threads: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """Those of the ids that no thread has."""
    found = rows("SELECT id FROM chat_threads WHERE id = ANY (%(ids)s::uuid[])", ids=list(threads))
    return sorted(set(threads) - {one["id"] for one in found})


def count_messages(threads: Sequence[uuid.UUID] | None) -> int:
    """How many messages ``repair`` will look at, about."""
    found = row(f"SELECT count(*) AS messages FROM chat_messages m WHERE {CHOSEN}", threads=_list(threads))
    assert found is not None
    number: int = found["messages"]
    return number


def repair(threads: Sequence[uuid.UUID] | None, *, write: bool, batch_size: int) -> Iterator[Looked]:
    """Look at all messages (of these threads; also at deleted and replaced ones, which may come back), ``batch_size``
    at a time by the order of their keys, and mend them if told to. Those of turns that have not ended are left alone.

    Each write is a transaction of its own, so it may be killed at any moment and run again. Race: whoever else writes
    the same message. Compared and set in one statement: a message that has changed since it was read, or whose turn
    goes on by then, is left as it is, and told as not mended.
    """
    after = 0
    while found := rows(BATCH, threads=_list(threads), after=after, limit=batch_size):
        after = found[-1]["id"]
        yield Looked(len(found), [broken for one in found if (broken := _looked(one, write=write))])


def _looked(found: Row, *, write: bool) -> Broken | None:
    if found["goes_on"]:
        return None
    stored = read_stored(found["parts"])
    parts, wrong = mend(stored, str(found["id"]))
    if not wrong:
        return None
    done = write and bool(rows(MEND, message=found["id"], was=found["parts"], parts=encoded(parts)))
    return Broken(found["thread_id"], found["id"], wrong, done)


def _list(threads: Sequence[uuid.UUID] | None) -> list[Any] | None:
    return None if threads is None else list(threads)


CHOSEN = "(%(threads)s::uuid[] IS NULL OR m.thread_id = ANY (%(threads)s::uuid[]))"
GOES_ON = f"""EXISTS (
    SELECT FROM chat_turns t
     WHERE t.thread_id = m.thread_id AND t.turn_id = m.turn_id AND t.status NOT IN ({ENDED_SQL}))"""
BATCH = f"""
SELECT m.id, m.thread_id, m.parts::text AS parts, {GOES_ON} AS goes_on
  FROM chat_messages m WHERE m.id > %(after)s AND {CHOSEN} ORDER BY m.id LIMIT %(limit)s
"""
MEND = f"""
UPDATE chat_messages m SET parts = %(parts)s::jsonb, updated_at = clock_timestamp()
 WHERE m.id = %(message)s AND m.parts = %(was)s::jsonb AND NOT {GOES_ON} RETURNING m.id
"""
