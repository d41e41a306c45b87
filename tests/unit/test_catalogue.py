"""The catalogue of promises, faults and abuse: nothing is missing in it, and what it names is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.proof.__main__ import named_in, page_of, unsettled
from tests.proof.catalogue import CATALOGUE, Row
from tests.proof.report import Outcome, line, page

ROOT = Path(__file__).resolve().parents[2]


def test_every_promise_fault_and_abuse_has_a_row() -> None:
    kinds = (("P", 12), ("F", 26), ("A", 20), ("L", 1))
    expected = [f"{kind}{number}" for kind, last in kinds for number in range(1, last + 1)]
    assert [row.name for row in CATALOGUE] == expected


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.name)
def test_a_row_names_tests_that_are_there_or_a_reason(row: Row) -> None:
    assert bool(row.tests) != bool(row.reason)
    assert not row.elsewhere or row.reason
    assert not row.untried or row.tests
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
    assert "**BROKEN**: 2 passed, 1 failed" in line(row, [*passed, Outcome("tests.a", "test_three", "failed", 0)])
    for found in (passed[:1], []):
        assert "**NOT TRIED**" in line(row, found)
    skipped = Outcome("tests.b", "test_two", "skipped", 0)
    assert "**NOT TRIED**: 1 passed, 1 skipped" in line(row, [passed[0], skipped])
    assert "**held**" in line(row, [*passed, Outcome("tests.a", "test_elsewhere", "skipped", 0)])
    other = [Outcome("tests.about", "test_one", "failed", 0), Outcome("tests.b", "test_twofold", "failed", 0)]
    assert "**held**" in line(row, [*passed, *other])
    about = {
        "rows": "Only F1",
        "form": "short",
        "commit": "c",
        "python": "3",
        "cores": "2",
        "minutes": "1",
        "again": "",
    }
    written = page([row], passed, about)
    assert "Only F1, short form, commit c" in written
    assert "## What may break" in written


def test_what_failed_and_what_was_not_reached_is_run_again_and_nothing_else() -> None:
    rows = [
        Row("F1", "a fault", ("tests/a.py", "tests/b.py::test_two")),
        Row("P1", "a promise", ("tests/a.py::test_one",)),
    ]
    tests = named_in(rows)
    assert tests == ["tests/a.py", "tests/b.py::test_two"]
    assert unsettled(tests, []) == tests
    passed = [Outcome("tests.a", "test_one", "passed", 1), Outcome("tests.b", "test_two", "passed", 1)]
    assert unsettled(tests, passed) == []
    failed = Outcome("tests.a", "test_three", "failed", 1)
    assert unsettled([*tests, "tests"], [*passed, failed]) == ["tests/a.py::test_three"], "which two rows name"
    assert unsettled(tests, passed[:1]) == ["tests/b.py::test_two"]
    skipped = Outcome("tests.b", "test_two", "skipped", 0)
    assert unsettled(tests, [passed[0], skipped]) == ["tests/b.py::test_two"]


def test_what_another_command_tries_is_not_said_to_apply_to_nothing() -> None:
    row = Row("F24", "an hour of load", reason="For its length.", elsewhere="make soak")
    assert line(row, []) == "| F24 | an hour of load | `make soak` | For its length. | |"
    assert "| does not apply |" in line(Row("F9", "Redis", reason="There is none."), [])
    some = line(Row("A19", "a host", ("tests/a.py",), untried="a proxy's headers."), [])
    assert "`a.py`. Not tried: a proxy's headers. |" in some


def test_some_rows_never_take_the_place_of_the_page_of_all(tmp_path: Path) -> None:
    assert page_of(None, ["F5"]) is None
    assert page_of(tmp_path / "f5.md", ["F5"]) == tmp_path / "f5.md"
    assert page_of(None, []) == ROOT / "docs" / "proof.md"


def test_every_proof_with_a_long_form_stands_in_a_row() -> None:
    """Else nothing ever runs it."""
    named = {test.partition("::")[0] for row in CATALOGUE for test in row.tests}
    marked = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if any(
            isinstance(node, ast.Attribute) and node.attr == "proof" for node in ast.walk(ast.parse(path.read_text()))
        )
    }
    assert len(marked) > 20
    assert {file for file in marked if not any(file == name or file.startswith(f"{name}/") for name in named)} == set()
