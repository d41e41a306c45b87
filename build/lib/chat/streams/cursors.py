"""Cursors: ``<turn pk>-<seq>``, where a reader is in a turn's log."""

from __future__ import annotations

import re
from dataclasses import dataclass

from chat.errors import InvalidInput

FORM = re.compile(r"(\d{1,18})-(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A reader has seen the chunks of ``turn`` up to and with ``seq``; 0 is before the first."""

    turn: int
    seq: int

    def __str__(self) -> str:
        return f"{self.turn}-{self.seq}"


def parse_cursor(text: str, field: str = "after") -> Cursor:
    """The cursor that ``text`` spells. Raises InvalidInput naming ``field``."""
    match = FORM.fullmatch(text)
    if match is None:
        raise InvalidInput(field, "A cursor looks like 12-345: a turn's number and a chunk's.")
    return Cursor(turn=int(match[1]), seq=int(match[2]))
