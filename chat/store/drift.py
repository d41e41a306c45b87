"""Drift: how the mirror of a copilot chat differs from its array, worked out by the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from chat.store.sql import Row, one_transaction, rows

# Bytes of arrays, as they are stored, that one read takes up: about a second's work.
READ_BYTES = 32 * 1024 * 1024


class Kind(StrEnum):
    """What may be wrong. All but the last are drift."""

    MISSING = "missing"  # an element without a row, or whose row is marked as deleted
    CHANGED = "changed"  # content or role differ
    EXTRA = "extra"  # a row without an element
    MISORDERED = "misordered"  # a row at another place among its siblings, or at the same as one of them
    REJECTED = "rejected"  # an element that is not as it should be: never a reason to mend anything


DRIFT = (Kind.MISSING, Kind.CHANGED, Kind.EXTRA, Kind.MISORDERED)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. ``index`` is the element's place in the array, ``seq`` its row's; ``problem`` and
    ``kept`` are told of what was rejected.
    """

    kind: Kind
    chat: UUID
    message_id: str | None
    index: int | None
    seq: int | None
    problem: str | None = None
    kept: bool | None = None


@dataclass(slots=True)
class Findings:
    """What a comparison of some chats found: how much of each kind, and by example. What was rejected is listed in
    full.
    """

    counts: dict[UUID, Counter[Kind]] = field(default_factory=dict)
    listed: list[Finding] = field(default_factory=list)
    elements: Counter[UUID] = field(default_factory=Counter)

    @property
    def drifted(self) -> list[UUID]:
        return [chat for chat, counts in self.counts.items() if any(counts[kind] for kind in DRIFT)]

    def total(self) -> Counter[Kind]:
        return sum(self.counts.values(), Counter())


@dataclass(frozen=True, slots=True)
class Glance:
    """A chat at first sight. ``right`` is said where its mirror is sure to be what it should be, and nothing of its
    array was rejected; what is not right has to be compared. ``mirrored``: there is a row of it. ``elements`` are not
    counted where there is none.
    """

    id: UUID
    size: int  # bytes of the array, as it is stored
    mirrored: bool
    behind: bool  # its array lacks messages, so that there is nothing to compare with
    failed: bool  # writes of its mirror have failed
    elements: int
    right: bool


def glance(condition: str, *, after: UUID, limit: int, **params: object) -> list[Glance]:
    """The next chats behind ``after`` by id, ``limit`` at most, fewer where they are large; none at the end.

    ``condition`` is SQL about ``c``, a row of copilot_chats. Reads without locks.
    """
    with prepared():
        found = rows(GLANCE.format(condition=condition), after=after, limit=limit, bytes=READ_BYTES, **params)
    return [Glance(**one) for one in found]


def compare(chats: Sequence[UUID], *, examples: int = 1) -> Findings:
    """Everything that is wrong with these chats; at most ``examples`` of each kind of drift and chat are listed, one at
    least.

    Reads without locks, unless its transaction holds them already.
    """
    with prepared():
        return findings(rows(COMPARE, chats=list(chats), examples=examples))


def findings(found: Iterable[Row]) -> Findings:
    """The rows of a statement that ends with ``LISTED``."""
    result = Findings()
    for one in found:
        chat, kind = one["chat_id"], Kind(one["kind"])
        rejected = kind == Kind.REJECTED
        result.counts.setdefault(chat, Counter())[kind] = one["total"]
        result.elements[chat] = one["elements"]
        result.listed.append(
            Finding(
                kind,
                chat,
                one["message_id"],
                one["idx"],
                one["seq"],
                one["problem"] if rejected else None,
                one["kept"] if rejected else None,
            )
        )
    return result


@contextmanager
def prepared(further: str = "") -> Iterator[None]:
    """A transaction whose statements are planned and carried out as these need it; ``further`` settings are calls of
    ``set_config``, as SQL.
    """
    with one_transaction():
        rows(f"SELECT concat({PREPARE}, {further})" if further else f"SELECT concat({PREPARE})")
        yield


# Nobody has counted the rows of a table that is just being filled: left alone, the planner reads all of it for each
# chat. Room for one long chat in memory. Compiling a statement takes longer than these take.
PREPARE = """
       set_config('enable_seqscan', 'off', true), set_config('work_mem', '32MB', true), set_config('jit', 'off', true)
"""
# The same bytes are the same value, and take a part of the time to compare; different bytes may still be it (1.0, 1).
SAME = """(m.role = e.role AND (record_image_eq(ROW(m.content), ROW(e.content)) OR m.content = e.content))"""
# Elements with their rows, one line for each that has either: what everything here looks at. The first of a repeated id
# has the row.
PAIRS = f"""
    SELECT e.idx, e.content, e.role, e.created_at, coalesce(e.message_id, m.message_id) AS message_id,
           coalesce(e.is_first, false) AS kept,
           CASE WHEN e.message_id IS NOT NULL AND NOT e.is_first THEN 'repeated_id' ELSE e.problem END AS problem,
           m.id AS row_id, m.seq, m.id IS NOT NULL AND m.deleted_at IS NULL AS live,
           NOT {SAME} AS differs
      FROM (SELECT e.*, e.message_id IS NOT NULL
                        AND row_number() OVER (PARTITION BY e.message_id ORDER BY e.idx) = 1 AS is_first
              FROM copilot_elements(c.messages, c.created_at) e) e
      FULL JOIN (SELECT * FROM copilot_chat_messages m WHERE m.chat_id = c.id) m
             ON m.message_id = CASE WHEN e.is_first THEN e.message_id END
"""
# A row stands wrong if as many others stand in front of it as should not, or if its place is another's as well.
DIFF = f"""
diff AS (
    SELECT c.id AS chat_id, nullif(c.model, '') AS model, d.*
      FROM copilot_chats c CROSS JOIN LATERAL (
           SELECT p.*, max(p.idx) OVER () + 1 AS elements,
                  p.kept AND p.live
                  AND (row_number() OVER (PARTITION BY p.kept AND p.live ORDER BY p.seq)
                       <> row_number() OVER (PARTITION BY p.kept AND p.live ORDER BY p.idx)
                       OR count(*) OVER (PARTITION BY p.kept AND p.live, p.seq) > 1) AS misordered
             FROM ({PAIRS} OFFSET 0) p
           ) d
     WHERE c.id = ANY (%(chats)s::uuid[])
)"""
LISTED = """
SELECT * FROM (
    SELECT d.chat_id, k.kind, d.problem, d.kept, d.message_id, d.idx, d.seq, coalesce(d.elements, 0) AS elements,
           count(*) OVER (PARTITION BY d.chat_id, k.kind) AS total,
           row_number() OVER (PARTITION BY d.chat_id, k.kind ORDER BY d.idx, d.seq) AS place
      FROM diff d
     CROSS JOIN LATERAL (VALUES ('missing', d.kept AND NOT d.live), ('changed', d.kept AND d.live AND d.differs),
                                ('extra', d.live AND d.idx IS NULL), ('misordered', d.misordered),
                                ('rejected', d.problem IS NOT NULL)) AS k (kind, is_so)
     WHERE k.is_so
) f
 WHERE place <= greatest(%(examples)s, 1) OR kind = 'rejected'
 ORDER BY chat_id, kind, place
"""
COMPARE = f"WITH {DIFF} {LISTED}"
# One line per chat, and nothing sorted: a chat is right if each element meets a row that is the same, at the seq of its
# index. Where ids are repeated, the first one's row meets both and has the index of one; such chats, and those whose
# seq are in order without being the indexes, are compared in full.
GLANCE = f"""
SELECT c.id, c.size, c.mirrored, c.array_behind AS behind, c.mirror_failures > 0 AS failed,
       coalesce(d.elements, 0) AS elements, c.mirrored AND NOT c.array_behind AND d.is_right AS right
  FROM (SELECT *, sum(size) OVER (ORDER BY id) AS so_far
          FROM (SELECT c.id, c.messages, c.created_at, c.array_behind, c.mirror_failures,
                       pg_column_size(c.messages) AS size,
                       coalesce((SELECT true FROM copilot_chat_messages m WHERE m.chat_id = c.id LIMIT 1), false)
                           AS mirrored
                  FROM copilot_chats c
                 WHERE c.id > %(after)s AND {{condition}}
                 ORDER BY c.id LIMIT %(limit)s) AS c) AS c
 CROSS JOIN LATERAL (
       SELECT count(e.idx) AS elements,
              coalesce(bool_and(coalesce(m.seq = e.idx AND m.deleted_at IS NULL AND e.problem IS NULL AND {SAME},
                                         false)), true) AS is_right
         FROM copilot_elements(c.messages, c.created_at) e
         FULL JOIN (SELECT * FROM copilot_chat_messages m WHERE m.chat_id = c.id) m ON m.message_id = e.message_id
        WHERE c.mirrored AND NOT c.array_behind
  ) d
 WHERE c.so_far - c.size < %(bytes)s
 ORDER BY c.id
"""
