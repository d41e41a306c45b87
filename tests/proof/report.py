"""What pytest told of a run, and the page that is made of it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.proof.catalogue import Row

TITLES = {"P": "What is promised", "F": "What may break", "A": "What may be tried", "L": "What else has a long form"}
TOLD = """# Proof

Written by `make proof`, which runs the tests of `tests/proof/catalogue.toml`: what is promised (P), and what is done to
the promises. {rows}, {form} form, commit {commit}, Python {python}, {cores} cores, {minutes} minutes.{again}
"""


@dataclass(frozen=True)
class Outcome:
    """A test by its file's module and its function; what came of it, and after how many seconds."""

    module: str
    function: str
    result: str  # passed, failed or skipped
    seconds: float

    @property
    def path(self) -> str:
        """As pytest is told of it: all of its parameters."""
        return f"{self.module.replace('.', '/')}.py{self.function and '::'}{self.function}"

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
        function = case.attrib.get("name", "").partition("[")[0]  # none, where the run was cut off
        found.append(Outcome(case.attrib.get("classname", ""), function, result, float(case.attrib["time"])))
    return found


def page(rows: Sequence[Row], found: Sequence[Outcome], about: dict[str, str]) -> str:
    """The outcome of these rows as Markdown. ``about`` is what ``TOLD`` names."""
    lines = [TOLD.format(**about)]
    for kind, title in TITLES.items():
        mine = [row for row in rows if row.name.startswith(kind)]
        if mine:
            lines += [f"## {title}", "", "| | what | outcome | tests | seconds |", "|---|---|---|---|---|"]
            lines += [line(row, found) for row in mine]
            lines.append("")
    return "\n".join(lines)


def line(row: Row, found: Sequence[Outcome]) -> str:
    """What a row has come to. It holds when each name in it was tried and passed: what was skipped tried nothing."""
    if row.reason:
        outcome = f"`{row.elsewhere}`" if row.elsewhere else "does not apply"
        return f"| {row.name} | {row.what} | {outcome} | {row.reason} | |"
    mine = [one for one in found if any(one.of(test) for test in row.tests)]
    counts = Counter(one.result for one in mine)
    passed = [one for one in mine if one.result == "passed"]
    tried = all(any(one.of(test) for one in passed) for test in row.tests)
    outcome = "BROKEN" if counts["failed"] else "held" if tried else "NOT TRIED"
    counted = ", ".join(f"{counts[result]} {result}" for result in ("passed", "failed", "skipped") if counts[result])
    where = ", ".join(f"`{test.removeprefix('tests/')}`" for test in row.tests)
    where += f". Not tried: {row.untried}" if row.untried else ""
    seconds = sum(one.seconds for one in mine)
    return f"| {row.name} | {row.what} | **{outcome}**: {counted or 'not run'} | {where} | {seconds:,.0f} |"
