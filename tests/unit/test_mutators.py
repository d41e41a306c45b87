"""The mutants of SQL: what is changed in a statement, and what is left."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

import pytest

from tests.proof import mutators
from tests.proof.mutants import EQUIVALENT, TABLE
from tests.proof.mutators import ROOT, Edit, mutants_of


def changed(edits: Callable[[str], Iterator[Edit]], sql: str) -> list[str]:
    return [sql[:start] + new + sql[end:] for start, end, new in edits(sql)]


def test_each_condition_is_left_out_with_its_brackets_and_quotes() -> None:
    sql = '"""SELECT a AND b AS c FROM t WHERE x IN (1, (2)) AND y = \'a)\' ORDER BY z"""'
    assert changed(mutators.conditions, sql) == [
        sql.replace("b AS c", "true AS c"),
        sql.replace("x IN (1, (2))", "true"),
        sql.replace("y = 'a)'", "true"),
    ]
    assert changed(mutators.conditions, 'f"WHERE {VISIBLE} AND id = {of("x")}"') == [
        'f"WHERE true AND id = {of("x")}"',
        'f"WHERE {VISIBLE} AND true"',
    ]


@pytest.mark.parametrize(
    ("edits", "sql", "becomes"),
    [
        (mutators.locks, "LIMIT 1 FOR UPDATE SKIP LOCKED)", ["LIMIT 1)", "LIMIT 1 FOR UPDATE)"]),
        (mutators.locks, "WHERE id = 1\n  FOR NO KEY UPDATE OF t", ["WHERE id = 1"]),
        (mutators.orders, "x ORDER BY f(a, b), c DESC LIMIT 1)", ["x LIMIT 1)", "x ORDER BY f(a, b), c LIMIT 1)"]),
        (mutators.conflicts, "x ON CONFLICT (a, b) DO NOTHING RETURNING id", ["x RETURNING id"]),
        (mutators.conflicts, "DO UPDATE SET a = (1), b = 2 RETURNING id", ["DO NOTHING RETURNING id"]),
        (mutators.assignments, "SET a = f(1, 2), b = 3 WHERE", ["SET b = 3 WHERE", "SET a = f(1, 2) WHERE"]),
        (mutators.assignments, "SET a = 1 WHERE", []),
        (mutators.swaps, "NOT EXISTS (SELECT)", ["EXISTS (SELECT)"]),
    ],
)
def test_a_clause_is_left_out_whole(edits: Callable[[str], Iterator[Edit]], sql: str, becomes: list[str]) -> None:
    assert [text for text in changed(edits, sql) if text.count("LIMIT") == sql.count("LIMIT")] == becomes


def test_a_mutant_is_python_with_one_line_changed_and_no_docstring_is_one() -> None:
    mutants = mutants_of("chat/store/leases.py")
    for mutant in mutants:
        before, after = mutant.change
        assert before != after
        ast.parse(mutant.source)
    names = {mutant.operator for mutant in mutants}
    assert {"SQL conditions", "SQL locks", "SQL orders", "AddNot"} <= names


def test_every_file_that_is_named_exists() -> None:
    tests = {test for nearest in TABLE.values() for those in nearest.values() for test in those}
    named = tests | {path for nearest in TABLE.values() for path in nearest} | {path for path, _ in EQUIVALENT}
    assert not [path for path in named if not (ROOT / path).exists()]
