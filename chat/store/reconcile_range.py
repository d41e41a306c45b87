"""Which copilot chats a reconcile goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from chat.store.sql import row, rows

# Of all the ids of chats that there are, none stands in front of it.
BEFORE_ALL = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Range:
    """Chats, as SQL about ``c``, a row of copilot_chats; ``scope`` is what a run's record says."""

    scope: str = "all"
    condition: str = "true"
    parameters: dict[str, Any] = field(default_factory=dict)


ALL = Range()
BEHIND = Range("array behind", "c.array_behind")


def changed_within(time: timedelta, text: str) -> Range:
    """The chats that were changed since then, by the database's clock. ``text`` is how the time was given."""
    found = row("SELECT clock_timestamp() - make_interval(secs => %(seconds)s) AS time", seconds=time.total_seconds())
    assert found is not None
    return Range(f"since {text}", "c.updated_at > %(since)s", {"since": found["time"]})


def chats_by_id(chats: Sequence[UUID]) -> Range:
    ids = sorted(set(chats))
    return Range(f"chat {', '.join(map(str, ids))}", "c.id = ANY (%(ids)s::uuid[])", {"ids": ids})


def unknown(chats: Sequence[UUID]) -> list[UUID]:
    """Those of the ids that no chat has."""
    found = rows("SELECT id FROM copilot_chats WHERE id = ANY (%(ids)s::uuid[])", ids=list(chats))
    return sorted(set(chats) - {one["id"] for one in found})


def count(chosen: Range) -> int:
    found = row(f"SELECT count(*) AS chats FROM copilot_chats c WHERE {chosen.condition}", **chosen.parameters)
    assert found is not None
    number: int = found["chats"]
    return number
