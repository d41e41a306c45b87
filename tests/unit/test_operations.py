"""docs/operations.md and the code tell the same."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from chat.metrics import FIGURES

ROOT = Path(__file__).resolve().parents[2]
TABLES = (ROOT / "docs" / "operations.md").read_text()


def rows(heading: str) -> Iterator[list[str]]:
    """The cells of the table below a heading."""
    section = TABLES.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def calls(*functions: str) -> Iterator[ast.Call]:
    """The calls of these functions, or methods, in the application."""
    for path in (ROOT / "chat").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                if name in functions and node.args:
                    yield node


def said(*functions: str) -> set[str]:
    """The texts that stand in the first argument of their calls."""
    first = (ast.walk(call.args[0]) for call in calls(*functions))
    return {
        one.value for nodes in first for one in nodes if isinstance(one, ast.Constant) and isinstance(one.value, str)
    }


def test_every_event_of_the_log_is_in_the_table_and_the_other_way_round() -> None:
    told = {name for row in rows("Logs") for name in names(row[0])}
    assert told == said("event", "_event")


def test_every_record_of_the_application_is_an_event() -> None:
    logs = [
        call
        for call in calls("debug", "info", "warning", "error", "exception", "log")
        if isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "logger"
    ]
    assert len(logs) > 30
    assert not [ast.unparse(call) for call in logs if "extra" not in {given.arg for given in call.keywords}]


def test_every_figure_is_in_its_table_with_its_labels_and_the_other_way_round() -> None:
    told = {names(row[0])[0]: row[1] if len(row) == 3 else "" for row in rows("Figures")}
    made = {one.name + (f"{{{','.join(one.labels)}}}" if one.labels else ""): one.kind for one in FIGURES}
    assert told == made


def test_the_code_tells_every_figure_of_a_process_and_no_other() -> None:
    counted = {one.name for one in FIGURES if one.kind}
    assert said("measure") == counted
    read = set(re.findall(r'"(chat_[a-z_]+)", ', (ROOT / "chat" / "store" / "figures.py").read_text()))
    assert read == {one.name for one in FIGURES} - counted


def test_no_alert_watches_a_figure_that_is_not_there() -> None:
    watched = {name for row in rows("What to wake somebody for") for name in re.findall(r"\bchat_\w+", row[0])}
    assert len(watched) > 5
    assert watched <= {one.name for one in FIGURES} | {f"{one.name}_bucket" for one in FIGURES}


def test_every_span_is_in_its_table_and_the_other_way_round() -> None:
    begun = {name for name in said("span") if name.startswith("chat.")}  # the admin's span() is one of time
    assert {names(row[0])[0] for row in rows("Traces")} == begun
