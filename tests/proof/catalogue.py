"""The rows of ``catalogue.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """A promise, a fault or an abuse: what tries it (folders, files or single functions), or why nothing does.

    ``elsewhere`` is the command that tries it instead of a test; ``untried`` what of it no test tries, and why.
    """

    name: str
    what: str
    tests: tuple[str, ...] = ()
    reason: str = ""
    elsewhere: str = ""
    untried: str = ""


CATALOGUE = [
    Row(name, **{**row, "tests": tuple(row.get("tests", ()))})
    for name, row in tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text()).items()
]
