"""Run the catalogue, and write what came of it: ``python -m tests.proof [--short] [F5 P3 …]``; ``make proof``.

Tests that stand in several rows run once. The exit code is pytest's; the page is written whatever it is, and says so.
Some rows are no page of the whole: they are printed, or written where ``--page`` says.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.proof.catalogue import CATALOGUE, Row
from tests.proof.report import Outcome, outcomes, page

ROOT = Path(__file__).resolve().parents[2]
WHOLE = Path("docs") / "proof.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", help="only these")
    parser.add_argument("--short", action="store_true", help="the short forms, as with every `make test`")
    parser.add_argument("--page", type=Path, help=f"where the table goes; that of all rows: {WHOLE}")
    parser.add_argument("--at-once", default="2", help="how many files are tried at a time")
    chosen = parser.parse_args()
    unknown = set(chosen.rows) - {row.name for row in CATALOGUE}
    if unknown:
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    rows = [row for row in CATALOGUE if not chosen.rows or row.name in chosen.rows]
    begun = time.monotonic()
    code, found = run(rows, short=chosen.short, at_once=chosen.at_once)
    about = {
        "rows": f"Only {', '.join(row.name for row in rows)}" if chosen.rows else "All rows",
        "form": "short" if chosen.short else "long",
        "commit": git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain") else ""),
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "minutes": f"{(time.monotonic() - begun) / 60:.0f}",
    }
    hand_on(page(rows, found, about), page_of(chosen.page, chosen.rows))
    return code


def page_of(asked: Path | None, rows: list[str]) -> Path | None:
    """Where the table goes: None for nowhere, since some rows in the place of all would say that the rest is gone."""
    return asked or (None if rows else ROOT / WHOLE)


def hand_on(told: str, path: Path | None) -> None:
    if path is None:
        print(told)
    else:
        path.write_text(told)
        print(f"{path} is written.")


def run(rows: list[Row], *, short: bool, at_once: str) -> tuple[int, list[Outcome]]:
    """Run the tests of these rows with pytest; its first exit code that is not 0, and what came of each test.

    What is marked ``calm`` runs first and beside nothing: it measures what the machine gives it.
    """
    tests = sorted({test for row in rows for test in row.tests})
    wider = {test for test in tests if "::" not in test}
    once = [test for test in tests if test in wider or test.partition("::")[0] not in wider]
    environment = os.environ | ({} if short else {"PROOF": "long"})
    codes, found = [], []
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.xml"
        for chosen in (["-m", "calm"], ["-m", "not calm", "-n", at_once, "--dist", "loadfile"]):
            command = [sys.executable, "-m", "pytest", *chosen, f"--junitxml={told}", *once]
            codes.append(subprocess.run(command, cwd=ROOT, env=environment).returncode)
            found += outcomes(told)
            told.unlink(missing_ok=True)
    failed = [code for code in codes if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)]
    return next(iter(failed), 0), found


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
