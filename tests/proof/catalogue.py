"""The rows of ``catalogue.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """A promise, a fault or an abuse: what tries it (folders, files or single functions), or why nothing does."""

    name: str
    what: str
    tests: tuple[str, ...] = ()
    reason: str = ""


CATALOGUE = [
    Row(name, row["what"], tuple(row.get("tests", ())), row.get("reason", ""))
    for name, row in tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text()).items()
]
