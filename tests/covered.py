"""What the tests run of ``chat/``, package by package: coverage's JSON comes in, a table goes out, and the exit code is
1 under a bar. (``fail_under`` of coverage knows only lines and branches in one figure.)
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

#: The least that is run, in percent.
BARS = {"lines": 95.0, "branches": 90.0}
NAMES = {"lines": ("covered_lines", "num_statements"), "branches": ("covered_branches", "num_branches")}


def table(report: dict[str, Any]) -> Iterator[str]:
    """One line a package."""
    packages: defaultdict[str, list[dict[str, int]]] = defaultdict(list)
    for path, file in report["files"].items():
        folders = path.split("/")[:-1]
        packages["/".join(folders[:2])].append(file["summary"])
    packages["all"] = [report["totals"]]
    yield "| package | lines | branches |"
    yield "|---|---|---|"
    for package, summaries in packages.items():
        shares = [f"{share(kind, summaries):.1f} %" for kind in BARS]
        yield f"| {package} | {' | '.join(shares)} |"


def share(kind: str, summaries: list[dict[str, int]]) -> float:
    """How much of these files is run, in percent; of nothing, all."""
    run, there = (sum(summary[name] for summary in summaries) for name in NAMES[kind])
    return 100 * run / there if there else 100.0


def missed(report: dict[str, Any]) -> list[str]:
    """The bars that are not reached, in words."""
    shares = {kind: share(kind, [report["totals"]]) for kind in BARS}
    return [
        f"{kind}: {shares[kind]:.2f} %, and {bar:g} % are wanted" for kind, bar in BARS.items() if shares[kind] < bar
    ]


def main() -> int:
    report = json.load(sys.stdin)
    print("\n".join(table(report)))
    print("\n".join(missed(report)), file=sys.stderr)
    return 1 if missed(report) else 0


if __name__ == "__main__":
    sys.exit(main())
