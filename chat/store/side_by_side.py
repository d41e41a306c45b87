"""A copilot chat's array and its mirror, element by element, for somebody who looks at the difference."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from chat.store.drift import DIFF, Kind, prepared
from chat.store.elements import value_of
from chat.store.sql import rows


@dataclass(frozen=True, slots=True)
class Pair:
    """An element and its row; one of the two may be missing. ``kinds`` is what is wrong with them."""

    message_id: str | None
    index: int | None
    element: Any
    seq: int | None
    row: Any
    row_role: str
    problem: str | None
    kinds: tuple[Kind, ...]


def side_by_side(chat: uuid.UUID, *, offset: int, limit: int, only_drift: bool) -> list[Pair]:
    """The pairs of a chat in the array's order, rows without an element where their ``seq`` puts them."""
    with prepared():
        found = rows(PAIRS_OF_CHAT, chats=[chat], offset=offset, limit=limit, only_drift=only_drift)
    return [
        Pair(
            message_id=one["message_id"],
            index=one["idx"],
            element=None if one["content"] is None else value_of(one["content"]),
            seq=one["seq"],
            row=None if one["row_content"] is None else value_of(one["row_content"]),
            row_role=one["row_role"] or "",
            problem=one["problem"],
            kinds=tuple(kind for kind in Kind if one[kind.value]),
        )
        for one in found
    ]


PAIRS_OF_CHAT = f"""
WITH {DIFF}, pairs AS (
    SELECT d.*, m.content AS row_content, m.role AS row_role, d.kept AND NOT d.live AS missing,
           d.kept AND d.live AND d.differs AS changed, d.live AND d.idx IS NULL AS extra,
           d.problem IS NOT NULL AS rejected
      FROM diff d LEFT JOIN copilot_chat_messages m ON m.id = d.row_id
)
SELECT * FROM pairs
 WHERE NOT %(only_drift)s OR missing OR changed OR extra OR misordered OR rejected
 ORDER BY coalesce(idx, seq), idx IS NULL, message_id OFFSET %(offset)s LIMIT %(limit)s
"""
