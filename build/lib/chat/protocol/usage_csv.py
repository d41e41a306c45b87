"""Totals of usage as CSV, for a spreadsheet: figures, days and names, nothing that was said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from io import StringIO
from typing import Any

from defusedcsv import csv

from chat.protocol.usage import COUNTS

FIGURES = ("turns", *COUNTS, "cost_usd", "estimated", "missing")


def csv_pieces(keys: Sequence[str], pages: Iterable[list[dict[str, Any]]]) -> Iterator[bytes]:
    """The lines of ``pages`` of totals that are grouped by ``keys``, a piece a page, the head first. A name that a
    spreadsheet would take for a formula begins with an apostrophe, and is on one line.
    """
    columns = [*keys, *FIGURES]
    yield _lines([columns])
    for page in pages:
        yield _lines([_cell(total, column) for column in columns] for total in page)


def _cell(total: dict[str, Any], column: str) -> Any:
    if column == "cost_usd":
        return Decimal(total["cost_micros"]).scaleb(-6)
    value = total[column]
    return " ".join(value.split()) if isinstance(value, str) else value


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    written = StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue().encode()
