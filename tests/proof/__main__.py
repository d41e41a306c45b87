"""Run the catalogue, and write what came of it: ``python -m tests.proof [--short] [--again] [F5 P3 …]``, or
``make proof``.

Tests that stand in several rows run once. The exit code is pytest's; the page is written whatever it is, and says so.
Some rows are no page of the whole: they are printed, or written where ``--page`` says. ``--again`` runs what failed or
was not reached in the run before, of which ``.data/proof.json`` tells; the page says what that was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.proof.catalogue import CATALOGUE, Row
from tests.proof.report import Outcome, outcomes, page

ROOT = Path(__file__).resolve().parents[2]
WHOLE = Path("docs") / "proof.md"
KEPT = ROOT / ".data" / "proof.json"
AGAIN = (
    " What had failed or not been reached in {minutes} minutes at commit {commit} was run again, the rest not: {tests}."
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", help="only these")
    parser.add_argument("--short", action="store_true", help="the short forms, as with every `make test`")
    parser.add_argument("--again", action="store_true", help="what failed in the run before, or was not reached")
    parser.add_argument("--page", type=Path, help=f"where the table goes; that of all rows: {WHOLE}")
    parser.add_argument("--at-once", default="2", help="how many files are tried at a time")
    chosen = parser.parse_args()
    unknown = set(chosen.rows) - {row.name for row in CATALOGUE}
    if unknown:
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    rows = [row for row in CATALOGUE if not chosen.rows or row.name in chosen.rows]
    begun = time.monotonic()
    form = "short" if chosen.short else "long"
    kept = json.loads(KEPT.read_text()) if chosen.again else {"form": form, "outcomes": []}
    if kept["form"] != form:
        parser.error(f"the run before had the {kept['form']} forms")
    before = [Outcome(**one) for one in kept["outcomes"]]
    tests = unsettled(named_in(rows), before)
    code, found = run(tests, short=chosen.short, at_once=chosen.at_once)
    found += [one for one in before if not any(one.of(test) for test in tests)]
    commit = git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain") else "")
    KEPT.parent.mkdir(exist_ok=True)
    minutes = f"{(time.monotonic() - begun) / 60:.0f}"
    told = {"form": form, "commit": commit, "minutes": minutes, "outcomes": [asdict(one) for one in found]}
    KEPT.write_text(json.dumps(told))
    about = {
        "rows": f"Only {', '.join(row.name for row in rows)}" if chosen.rows else "All rows",
        "form": form,
        "commit": commit,
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "minutes": minutes,
        "again": AGAIN.format(tests=", ".join(tests) or "nothing", **kept) if chosen.again else "",
    }
    hand_on(page(rows, found, about), page_of(chosen.page, chosen.rows))
    return code


def named_in(rows: Iterable[Row]) -> list[str]:
    """What these rows name: folders, files and functions, but none that is in another."""
    tests = sorted({test for row in rows for test in row.tests})
    wider = {test for test in tests if "::" not in test}
    return [test for test in tests if test in wider or test.partition("::")[0] not in wider]


def unsettled(tests: Sequence[str], before: Sequence[Outcome]) -> list[str]:
    """Of these tests the functions that failed in a run before, and what had nothing to show in it."""
    found = []
    for test in tests:
        mine = [one for one in before if one.of(test)]
        failed = sorted({one.path for one in mine if one.result == "failed"})
        tried = any(one.result == "passed" for one in mine)
        found += failed or ([] if tried else [test])
    return list(dict.fromkeys(found))  # what two rows name is run once


def page_of(asked: Path | None, rows: list[str]) -> Path | None:
    """Where the table goes: None for nowhere, since some rows in the place of all would say that the rest is gone."""
    return asked or (None if rows else ROOT / WHOLE)


def hand_on(told: str, path: Path | None) -> None:
    if path is None:
        print(told)
    else:
        path.write_text(told)
        print(f"{path} is written.")


def run(tests: Sequence[str], *, short: bool, at_once: str) -> tuple[int, list[Outcome]]:
    """Run these tests with pytest; its first exit code that is not 0, and what came of each test.

    What is marked ``calm`` runs first and beside nothing: it measures what the machine gives it.
    """
    if not tests:
        return 0, []
    environment = os.environ | ({} if short else {"PROOF": "long"})
    codes, found = [], []
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.xml"
        for chosen in (["-m", "calm"], ["-m", "not calm", "-n", at_once, "--dist", "loadfile"]):
            command = [sys.executable, "-m", "pytest", *chosen, f"--junitxml={told}", *tests]
            codes.append(subprocess.run(command, cwd=ROOT, env=environment).returncode)
            found += outcomes(told)
            told.unlink(missing_ok=True)
    failed = [code for code in codes if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)]
    return next(iter(failed), 0), found


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
