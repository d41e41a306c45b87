"""Making the mirror of copilot chats what their arrays say, or saying what is wrong with it.

Chats are compared in the order of their ids, without locks. Only where something is to be written is a chat's lock
taken, as every writer of a chat takes it, and what is written is worked out anew by the statement that writes. Each
transaction leaves its chats right: a run that is killed has lost nothing, and the next one finds less to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from uuid import UUID

from chat.models import ReconcileMode
from chat.store.drift import DIFF, DRIFT, LISTED, Finding, Findings, Glance, Kind, compare, findings, glance
from chat.store.locked_chats import LockedChats, patiently
from chat.store.reconcile_range import BEFORE_ALL, Range
from chat.store.sql import connection, rows

# Transactions side by side while there is no mirror yet, which is most of the work there will ever be: between two of
# them the server has nothing to do, and one alone does not keep up with a plain INSERT.
FILLED_AT_ONCE = 2


@dataclass(slots=True)
class Step:
    """What was done with some chats. ``left`` is the drift that is still there, ``busy`` the chats that somebody else
    held all the time, ``behind`` those whose array lacks messages: both were left alone. ``rebuilt``: arrays that were
    written. ``locked``: seconds for which each transaction held its locks.
    """

    chats: int = 0
    messages: int = 0
    found: Counter[Kind] = field(default_factory=Counter)
    left: Counter[Kind] = field(default_factory=Counter)
    listed: list[Finding] = field(default_factory=list)
    busy: list[UUID] = field(default_factory=list)
    behind: list[UUID] = field(default_factory=list)
    rebuilt: int = 0
    locked: list[float] = field(default_factory=list)

    @property
    def mended(self) -> Counter[Kind]:
        """Drift that was found and is no longer there."""
        return +Counter({kind: self.found[kind] - self.left[kind] for kind in DRIFT})

    @property
    def is_clean(self) -> bool:
        """Whether no chat is left that drifts, or may."""
        return not (+self.left or self.busy or self.behind)

    def add(self, other: Step) -> Step:
        """Take in what another one tells; returns itself."""
        for each in fields(self):
            sum_ = getattr(self, each.name)
            sum_ += getattr(other, each.name)
            setattr(self, each.name, sum_)
        return self


def reconcile(chosen: Range, mode: ReconcileMode, *, batch_size: int = 200, examples: int = 3) -> Iterator[Step]:
    """Go through the chats of a range, in any mode but FROM_MIRROR. What a step tells of is committed. At most
    ``examples`` of each kind of drift and chat are listed, and all that was rejected.

    Raises one of ``store.sql.UNAVAILABLE`` when the database stays away.
    """
    locks = LockedChats()
    after = BEFORE_ALL
    while seen := patiently(partial(glance, chosen.condition, after=after, limit=batch_size, **chosen.parameters)):
        after = seen[-1].id
        # One that is right, but has failed writes, is counted where they are forgotten.
        right = [one for one in seen if one.right and (mode == ReconcileMode.CHECK or not one.failed)]
        behind = [one.id for one in seen if one.behind]
        yield Step(len(right) + len(behind), sum(one.elements for one in right), behind=behind)
        if mode == ReconcileMode.CHECK:
            wrong = [one for one in seen if not one.right and not one.behind]
            yield _told(wrong, patiently(partial(compare, [one.id for one in wrong], examples=examples)))
        else:
            yield from _write(seen, locks, repair=mode == ReconcileMode.REPAIR, examples=examples)


def _write(seen: Sequence[Glance], locks: LockedChats, *, repair: bool, examples: int) -> Iterator[Step]:
    """Write what is missing in these chats, or mend everything."""
    wrong = [one for one in seen if one.mirrored and not one.right and not one.behind]
    compared = patiently(partial(compare, [one.id for one in wrong], examples=examples))
    drifted = set(compared.drifted)
    # Also where nothing drifted, if writes have failed: that is no longer so.
    mended = [one for one in seen if one.mirrored and not one.behind and (one.failed or one.id in drifted)]
    yield _told([one for one in wrong if one.id not in drifted and not one.failed], compared)

    empty = [one for one in seen if not one.mirrored and not one.behind]
    # Inside somebody's transaction nobody else would see these chats.
    at_once = 1 if connection().in_atomic_block else FILLED_AT_ONCE
    yield from locks.each(empty, partial(_fill, repair=repair, examples=examples), at_once=at_once)
    yield from locks.each(mended, partial(_mend, repair=repair, examples=examples))
    busy = [one for one in mended if one.id in locks.busy]
    told = _told(busy, compared)
    yield replace(told, busy=[*locks.busy], behind=[*locks.behind], locked=[*locks.held])
    for taken in (locks.busy, locks.behind, locks.held):
        taken.clear()


def _told(chats: Sequence[Glance], compared: Findings) -> Step:
    """What was found in some chats that nothing is written in."""
    ids = {one.id for one in chats}
    step = Step(len(chats), sum(one.elements or compared.elements[one.id] for one in chats))
    for chat in ids & compared.counts.keys():
        step.found += compared.counts[chat]
    step.left = Counter({kind: step.found[kind] for kind in DRIFT})
    step.listed = [one for one in compared.listed if one.chat in ids]
    return step


def _fill(chats: Sequence[UUID], *, repair: bool, examples: int) -> Step:
    """The mirror of chats that have none, under their locks. Those that have got one meanwhile are mended."""
    step = Step()
    done, mended, to_compare = set(), [], []
    for one in rows(FILL, chats=list(chats), examples=examples):
        done.add(one["chat"])
        step.chats += 1
        step.messages += one["elements"]
        step.found[Kind.MISSING] += one["added"]
        step.listed += [
            Finding(Kind.MISSING, one["chat"], name, place, None)
            for name, place in zip(one["names"] or [], one["places"] or [], strict=True)
        ]
        if one["problems"] or one["added"] != one["acceptable"]:
            to_compare.append(one["chat"])
        elif one["failed"]:
            mended.append(one["chat"])
    if to_compare:
        compared = compare(to_compare, examples=examples)
        total = compared.total()
        step.found[Kind.REJECTED] += total[Kind.REJECTED]
        step.left = Counter({kind: total[kind] for kind in DRIFT})
        step.listed += compared.listed
        mended += set(to_compare) - set(compared.drifted)
    if mended:
        rows(RESET_FAILURES, chats=mended)
    others = [chat for chat in chats if chat not in done]
    return step.add(_mend(others, repair=repair, examples=examples)) if others else step


def _mend(chats: Sequence[UUID], *, repair: bool, examples: int) -> Step:
    """Write what is missing in chats that have a mirror, under their locks; ``repair``: everything."""
    found = findings(rows(MEND, chats=list(chats), repair=repair, examples=examples))
    # What was written is looked at again: nobody else is believed, not even the statement above.
    seen = glance("c.id = ANY (%(chats)s::uuid[])", after=BEFORE_ALL, limit=len(chats), chats=list(chats))
    left = compare([one.id for one in seen if not one.right])
    rows(RESET_FAILURES, chats=sorted(set(chats) - set(left.drifted)))
    return Step(
        len(chats),
        sum(one.elements or found.elements[one.id] for one in seen),
        found=found.total(),
        left=Counter({kind: number for kind, number in left.total().items() if kind in DRIFT}),
        listed=found.listed,
    )


RESET_FAILURES = """
UPDATE copilot_chats SET mirror_failures = 0 WHERE id = ANY (%(chats)s::uuid[]) AND mirror_failures > 0
"""
# Chats without a row: an id may be there twice only if the array repeats it. To look for that costs a tenth of what ON
# CONFLICT does, which asks the index once more for every row.
FILL = """
WITH chats AS MATERIALIZED (
    SELECT c.id, nullif(c.model, '') AS model, c.messages, c.created_at, c.mirror_failures FROM copilot_chats c
     WHERE c.id = ANY (%(chats)s::uuid[])
       AND (SELECT true FROM copilot_chat_messages m WHERE m.chat_id = c.id LIMIT 1) IS NULL
), elements AS MATERIALIZED (
    SELECT c.id AS chat_id, c.model, e.*
      FROM chats c CROSS JOIN LATERAL copilot_elements(c.messages, c.created_at) e
), repeated AS MATERIALIZED (
    SELECT chat_id, message_id, min(idx) AS idx FROM elements
     GROUP BY chat_id, message_id HAVING count(*) > 1
), added AS (
    INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, model, created_at)
    SELECT chat_id, message_id, idx, role, content, model, created_at FROM elements e
     WHERE message_id IS NOT NULL
       AND NOT EXISTS (SELECT FROM repeated r
                        WHERE r.chat_id = e.chat_id AND r.message_id = e.message_id AND r.idx < e.idx)
    RETURNING chat_id, message_id, seq
)
SELECT c.id AS chat, coalesce(e.elements, 0) AS elements, coalesce(e.acceptable, 0) AS acceptable,
       coalesce(e.problems, 0) AS problems, coalesce(a.added, 0) AS added, a.names, a.places,
       c.mirror_failures > 0 AS failed
  FROM chats c
  LEFT JOIN (SELECT chat_id, count(*) AS elements, count(message_id) AS acceptable, count(problem) AS problems
               FROM elements GROUP BY chat_id) e ON e.chat_id = c.id
  LEFT JOIN (SELECT chat_id, count(*) AS added, (array_agg(message_id))[1:%(examples)s] AS names,
                    (array_agg(seq))[1:%(examples)s] AS places
               FROM added GROUP BY chat_id) a ON a.chat_id = c.id
"""
# The place of a row that is added is its index, where that is free; else it goes to the end, and stands wrong. A repair
# moves rows only in chats in which one would stand wrong: it gives each its index then.
MEND = f"""
WITH {DIFF}, placed AS (
    SELECT d.*, CASE WHEN %(repair)s AND bool_or(d.stands_wrong) OVER chat THEN d.idx ELSE d.place END AS new_seq,
           greatest(max(d.seq) OVER chat, max(d.idx) OVER chat) AS highest
      FROM (SELECT d.*, coalesce(d.seq, d.idx) AS place,
                   d.kept AND (row_number() OVER (PARTITION BY d.chat_id, d.kept ORDER BY coalesce(d.seq, d.idx))
                               <> row_number() OVER (PARTITION BY d.chat_id, d.kept ORDER BY d.idx)
                               OR count(*) OVER (PARTITION BY d.chat_id, d.kept, coalesce(d.seq, d.idx)) > 1)
                       AS stands_wrong
              FROM diff d) d
    WINDOW chat AS (PARTITION BY d.chat_id)
), to_add AS (
    SELECT p.*, NOT %(repair)s AND EXISTS (SELECT FROM copilot_chat_messages m
                                            WHERE m.chat_id = p.chat_id AND m.seq = p.idx AND m.deleted_at IS NULL)
                AS is_taken
      FROM placed p WHERE p.kept AND p.row_id IS NULL
), added AS (
    INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, model, created_at)
    SELECT chat_id, message_id,
           CASE WHEN is_taken THEN highest + row_number() OVER (PARTITION BY chat_id, is_taken ORDER BY idx)
                ELSE new_seq END,
           role, content, model, created_at
      FROM to_add
), updated AS (
    UPDATE copilot_chat_messages m
       SET content = CASE WHEN p.differs THEN p.content ELSE m.content END,
           role = CASE WHEN p.differs THEN p.role ELSE m.role END,
           model = CASE WHEN p.differs THEN coalesce(m.model, p.model) ELSE m.model END,
           seq = p.new_seq, deleted_at = NULL, updated_at = clock_timestamp()
      FROM placed p
     WHERE %(repair)s AND m.id = p.row_id AND p.kept AND (NOT p.live OR p.differs OR p.seq <> p.new_seq)
), removed AS (
    DELETE FROM copilot_chat_messages m
     USING placed p WHERE %(repair)s AND m.id = p.row_id AND p.live AND p.idx IS NULL
)
{LISTED}
"""
