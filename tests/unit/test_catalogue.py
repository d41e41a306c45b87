"""The catalogue of promises, faults and abuse: nothing is missing in it, and what it names is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.proof.catalogue import CATALOGUE, Row
from tests.proof.report import Outcome, line, page

ROOT = Path(__file__).resolve().parents[2]


def test_every_promise_fault_and_abuse_has_a_row() -> None:
    expected = [f"{kind}{number}" for kind, last in (("P", 12), ("F", 26), ("A", 20)) for number in range(1, last + 1)]
    assert [row.name for row in CATALOGUE] == expected


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.name)
def test_a_row_names_tests_that_are_there_or_a_reason(row: Row) -> None:
    assert bool(row.tests) != bool(row.reason)
    for test in row.tests:
        path, _, function = test.partition("::")
        assert (ROOT / path).exists(), test
        if function:
            tree = ast.parse((ROOT / path).read_text())
            assert function in {
                node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }


def test_a_row_holds_when_all_that_it_names_was_run_and_passed() -> None:
    row = Row("F1", "a fault", ("tests/a.py", "tests/b.py::test_two"))
    passed = [Outcome("tests.a", "test_one", "passed", 1.5), Outcome("tests.b", "test_two", "passed", 2)]
    assert line(row, passed).startswith("| F1 | a fault | **held**: 2 passed |")
    assert line(row, passed).endswith("| 4 |")
    for found in (passed[:1], [*passed, Outcome("tests.a", "test_three", "failed", 0)], []):
        assert "**BROKEN**" in line(row, found)
    other = [Outcome("tests.about", "test_one", "failed", 0), Outcome("tests.b", "test_twofold", "failed", 0)]
    assert "**held**" in line(row, [*passed, *other])
    about = {"form": "short", "commit": "c", "python": "3", "cores": "2", "minutes": "1"}
    assert "## What may break" in page([row], passed, about)
