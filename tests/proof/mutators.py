"""Which mutants there are: one small change of the code each, which some test ought to notice.

Those of Python are cosmic-ray's. In this house what matters most is SQL, which is text to it: the operators at the end
of this file change that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import String

ROOT = Path(__file__).resolve().parents[2]

# Of cosmic-ray's 190, those that make another program here. Left out: `==` to `is` and `<=` and the like, which are
# mostly the same for what is compared; `|`, `**` and `*`, which are annotations, unpacking and repeated strings; signs
# of numbers; decorators, without which nothing can be imported.
OF_PYTHON = [
    *(
        f"ReplaceComparisonOperator_{change}"
        for change in (
            *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is"),
            *("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt"),
        )
    ),
    *("ReplaceBinaryOperator_Add_Sub", "ReplaceBinaryOperator_Sub_Add", "ReplaceUnaryOperator_Delete_Not", "AddNot"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "NumberReplacer"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ExceptionReplacer", "ZeroIterationForLoop"),
]


@dataclass(frozen=True)
class Mutant:
    """One change of a file: the ``occurrence``-th place where ``operator`` changes something, which is in ``line``."""

    path: str
    line: int
    operator: str
    occurrence: int
    original: str = field(repr=False)

    @cached_property
    def source(self) -> str:
        """The whole file with the change."""
        return str(mutate_code(self.original, OPERATORS[self.operator], self.occurrence))

    @property
    def change(self) -> tuple[str, str]:
        """The first line that differs, as it is and as it becomes."""
        before, after = self.original.splitlines(), self.source.splitlines()
        number = next(at for at, (old, new) in enumerate(zip(before, after, strict=False)) if old != new)
        return before[number].strip(), after[number].strip()


def mutants_of(path: str) -> list[Mutant]:
    """All mutants of a file, by its path below the project's folder."""
    original = (ROOT / path).read_text()
    nodes = list(ast_nodes(get_ast(original)))
    found = []
    for name, operator in OPERATORS.items():
        places = [(node, begin[0]) for node in nodes for begin, _ in operator.mutation_positions(node)]
        found += [
            Mutant(path, line, name, occurrence, original)
            for occurrence, (node, line) in enumerate(places)
            if isinstance(operator, SqlOperator) or _runs(node, name)
        ]
    return found


def _runs(node: Any, operator: str) -> bool:
    """Whether it stands in a function. What does not is a declaration, or a limit or pause of which one more or less
    is no defect; and so is the number that a parameter has by default.
    """
    in_function = node.search_ancestor("funcdef", "lambdef") is not None
    return in_function and not (operator == "NumberReplacer" and node.search_ancestor("param"))


# An edit of a statement: where it begins and ends in the text, and what stands there then.
Edit = tuple[int, int, str]


class SqlOperator(Operator):
    """Changes the text of SQL in strings and f-strings, but not in docstrings."""

    def __init__(self, edits: Callable[[str], Iterator[Edit]]) -> None:
        self.edits = edits

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        if node.type in ("string", "fstring") and node.parent.type != "simple_stmt":
            text = node.get_code(include_prefix=False)
            for start, _, _ in self.edits(text):
                word = len(text) - len(text[start:].lstrip())
                place = node.start_pos[0] + text.count("\n", 0, word), 0
                yield place, place

    def mutate(self, node: Any, index: int) -> Any:
        text = node.get_code(include_prefix=False)
        start, end, new = list(self.edits(text))[index]
        return String(text[:start] + new + text[end:], node.start_pos, node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


# What ends a clause of SQL, outside brackets and quotes.
END = re.compile(
    r"ORDER BY|GROUP BY|HAVING|LIMIT|FOR NO KEY|FOR UPDATE|FOR SHARE|RETURNING|UNION|ON CONFLICT|WHERE|DO |"
    r"LEFT JOIN|JOIN|THEN|WHEN|ELSE|END\b|SELECT|UPDATE|DELETE|FROM\b"
)
OF_CONDITION = re.compile(rf"AND\b|OR\b|AS\b|,|{END.pattern.replace('|FROM', '')}")
OF_ASSIGNMENT = re.compile(rf",|{END.pattern}")


def extent(sql: str, start: int, end: re.Pattern[str]) -> int:
    """Where that ends which begins at ``start``: before ``end``, a bracket that closes more, or the string's end."""
    depth, at, before = 0, start, start
    while at < len(sql):
        if sql[at] in "([{":
            depth += 1
        elif sql[at] in ")]}":
            depth -= 1
        elif sql[at] == "'":
            at = sql.find("'", at + 1)
        ends = not depth and (sql[at] == '"' or ((sql[at] == "," or _at_word(sql, at)) and end.match(sql, at)))
        if depth < 0 or ends:
            break
        at += 1
        before = at if not sql[at - 1].isspace() else before
    return before


def _at_word(sql: str, at: int) -> bool:
    return not (sql[at - 1].isalnum() or sql[at - 1] == "_")


def conditions(sql: str) -> Iterator[Edit]:
    """Each condition of a WHERE and of what an AND joins holds always."""
    for word in re.finditer(r"\b(?:WHERE|AND)\s+", sql):
        end = extent(sql, word.end(), OF_CONDITION)
        if end > word.end():
            yield word.end(), end, "true"


def locks(sql: str) -> Iterator[Edit]:
    """Rows are not locked; those that are locked are waited for."""
    for word in re.finditer(r"\s+FOR (?:NO KEY )?(?:UPDATE|SHARE)(?: OF \w+)?(?: SKIP LOCKED)?", sql):
        yield word.start(), word.end(), ""
    for word in re.finditer(r" SKIP LOCKED", sql):
        yield word.start(), word.end(), ""


def orders(sql: str) -> Iterator[Edit]:
    """Rows come as they like, or the other way round; all of them do."""
    for word in re.finditer(r"\s+ORDER BY ", sql):
        yield word.start(), extent(sql, word.end(), END), ""
    for word in re.finditer(r" DESC\b|\s+LIMIT (?:\d+|%\(\w+\)s)", sql):
        yield word.start(), word.end(), ""


def conflicts(sql: str) -> Iterator[Edit]:
    """A row that is there already is an error; or stays as it is."""
    for word in re.finditer(r"\s+ON CONFLICT (?:\([^()]*\) )?DO NOTHING", sql):
        yield word.start(), word.end(), ""
    for word in re.finditer(r"DO UPDATE SET ", sql):
        yield word.start(), extent(sql, word.end(), re.compile("RETURNING")), "DO NOTHING"


def assignments(sql: str) -> Iterator[Edit]:
    """One column of several is not set."""
    for word in re.finditer(r"\bSET\s+", sql):
        at, places = word.end(), []
        while True:
            end = extent(sql, at, OF_ASSIGNMENT)
            places.append((at, end))
            if sql[end : end + 1] != ",":
                break
            at = end + 1 + len(sql[end + 1 :]) - len(sql[end + 1 :].lstrip())
        for (start, _), (following, _) in pairwise(places):
            yield start, following, ""
        if len(places) > 1:
            yield places[-2][1], places[-1][1], ""


def swaps(sql: str) -> Iterator[Edit]:
    """A word in the place of another."""
    for old, new in SWAPS:
        for word in re.finditer(old, sql):
            yield word.start(), word.end(), new


SWAPS = [
    (r"IS NOT NULL", "IS NULL"),
    (r"IS NULL", "IS NOT NULL"),
    (r"NOT EXISTS", "EXISTS"),
    (r"(?<!NOT )EXISTS", "NOT EXISTS"),
    (r" < (?!clock)", " <= "),  # of two moments none is the same
    (r" <= (?!clock)", " < "),
    (r" > (?!clock)", " >= "),
    (r" >= (?!clock)", " > "),
    (r" \+ 1\b", ""),
    (r"\bmax\(", "min("),
    (r"\bmin\(", "max("),
    (r"\bgreatest\(", "least("),
    (r"\bleast\(", "greatest("),
    (r"LEFT JOIN", "JOIN"),
    (r"DISTINCT (?!FROM)", ""),
]

OPERATORS: dict[str, Operator] = {name: OperatorProvider()[name]() for name in OF_PYTHON} | {
    f"SQL {edits.__name__}": SqlOperator(edits) for edits in (conditions, locks, orders, conflicts, assignments, swaps)
}
