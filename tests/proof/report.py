"""What pytest told of a run, and the page that is made of it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.proof.catalogue import Row

TITLES = {"P": "What is promised", "F": "What may break", "A": "What may be tried"}
TOLD = """# Proof

Written by `make proof`, which runs the tests of `tests/proof/catalogue.toml`: what DESIGN promises, and what is done to
the promises. {form} form, commit {commit}, Python {python}, {cores} cores, {minutes} minutes.
"""


@dataclass(frozen=True)
class Outcome:
    """A test by its file's module and its function; what came of it, and after how many seconds."""

    module: str
    function: str
    result: str  # passed, failed or skipped
    seconds: float

    def of(self, test: str) -> bool:
        """Whether ``test``, a folder, a file or one function of it, names this one."""
        path, _, function = test.partition("::")
        module = path.removesuffix(".py").replace("/", ".")
        inside = self.module == module or self.module.startswith(f"{module}.")
        return inside and function in ("", self.function)


def outcomes(told: Path) -> list[Outcome]:
    """What pytest's JUnit XML tells; nothing, where it came to no end."""
    if not told.exists():
        return []
    found = []
    for case in ElementTree.parse(told).iter("testcase"):
        kinds = {child.tag for child in case}
        result = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        function = case.attrib["name"].partition("[")[0]
        found.append(Outcome(case.attrib["classname"], function, result, float(case.attrib["time"])))
    return found


def page(rows: Sequence[Row], found: Sequence[Outcome], about: dict[str, str]) -> str:
    """The outcome of every row as Markdown."""
    lines = [TOLD.format(**{**about, "form": about["form"].capitalize()})]
    for kind, title in TITLES.items():
        mine = [row for row in rows if row.name.startswith(kind)]
        if mine:
            lines += [f"## {title}", "", "| | what | outcome | tests | seconds |", "|---|---|---|---|---|"]
            lines += [line(row, found) for row in mine]
            lines.append("")
    return "\n".join(lines)


def line(row: Row, found: Sequence[Outcome]) -> str:
    if row.reason:
        return f"| {row.name} | {row.what} | does not apply | {row.reason} | |"
    mine = [one for one in found if any(one.of(test) for test in row.tests)]
    counts = Counter(one.result for one in mine)
    held = counts["passed"] and not counts["failed"] and all(any(one.of(t) for one in mine) for t in row.tests)
    counted = ", ".join(f"{counts[result]} {result}" for result in ("passed", "failed", "skipped") if counts[result])
    where = ", ".join(f"`{test.removeprefix('tests/')}`" for test in row.tests)
    outcome = f"{'**held**' if held else '**BROKEN**'}: {counted or 'not run'}"
    return f"| {row.name} | {row.what} | {outcome} | {where} | {sum(one.seconds for one in mine):,.0f} |"
