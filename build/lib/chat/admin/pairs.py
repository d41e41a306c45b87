"""How an array and its mirror look beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chat.admin.cells import pretty
from chat.store.drift import Kind
from chat.store.side_by_side import Pair

# Characters of a message's text, and of its JSON, that a line shows.
TEXT, JSON = 160, 20_000
LOOKS = {
    Kind.MISSING: "bad",
    Kind.CHANGED: "bad",
    Kind.EXTRA: "bad",
    Kind.MISORDERED: "waiting",
    Kind.REJECTED: "quiet",
}
PROBLEMS = {
    "no_object": "no object",
    "no_id": "has no id",
    "no_role": "has no role",
    "no_time": "has no time",
    "repeated_id": "repeats an id",
}


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a pair, as text; a template escapes it."""

    role: str
    text: str
    name: str
    json: str


@dataclass(frozen=True, slots=True)
class PairView:
    """One line. ``same``: the row needs not be shown, it is what the element is."""

    index: str
    seq: str
    element: Side | None
    row: Side | None
    same: bool
    look: str
    labels: list[tuple[str, str]]


def pair_view(pair: Pair) -> PairView:
    """A pair as a line of the table."""
    labels = [
        (LOOKS[kind], PROBLEMS.get(pair.problem or "", kind) if kind == Kind.REJECTED else kind.value.capitalize())
        for kind in pair.kinds
    ]
    wrong = [kind for kind in pair.kinds if kind != Kind.REJECTED]
    return PairView(
        index="" if pair.index is None else str(pair.index),
        seq="" if pair.seq is None else str(pair.seq),
        element=None if pair.index is None else _side(pair.element, pair.message_id),
        row=None if pair.row is None else _side(pair.row, pair.message_id, pair.row_role),
        same=Kind.CHANGED not in pair.kinds and pair.index is not None,
        look=LOOKS[wrong[0]] if wrong else "",
        labels=labels,
    )


def _side(value: Any, name: str | None, role: str = "") -> Side:
    element = value if isinstance(value, dict) else {}
    said = element.get("content")
    text = " ".join(said.split()) if isinstance(said, str) else ""
    json = pretty(value)
    return Side(
        role=role or str(element.get("role", ""))[:64],
        text=text if len(text) <= TEXT else text[:TEXT] + "…",
        name=name or "no id",
        json=json if len(json) <= JSON else json[:JSON] + "…",
    )
