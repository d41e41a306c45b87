"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ("chat", "chatproject") for path in (ROOT / folder).rglob("*.py"))
NOTHING_INSIDE = {"utils", "util", "helpers", "helper", "common", "misc", "services", "managers"}
# The admin only reads, the fault kit looks from outside; models and migrations are what querysets are made of.
MAY_QUERY = ("chat/store/", "chat/models/", "chat/migrations/", "chat/admin/", "chat/testing/")
MAY_QUERY_TOO = {
    "chat/management/commands/serve.py",  # the demo account: no table of ours
    "chat/streams/listen.py",  # the one async connection; it only listens
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def uses_of_the_database(tree: ast.AST) -> Iterator[str]:
    """What only the store may do: querysets, cursors, transactions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("objects", "_default_manager", "cursor"):
            yield f".{node.attr} in line {node.lineno}"
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(("django.db", "psycopg")):
            yield f"import from {node.module} in line {node.lineno}"
        elif isinstance(node, ast.Import):
            for imported in node.names:
                if imported.name.startswith(("django.db", "psycopg")):
                    yield f"import of {imported.name} in line {node.lineno}"


@pytest.mark.parametrize("path", [p for p in SOURCES if name(p).startswith("chat/")], ids=name)
def test_only_the_store_touches_the_database(path: Path) -> None:
    if name(path).startswith(MAY_QUERY) or name(path) in MAY_QUERY_TOO:
        return
    assert not list(uses_of_the_database(ast.parse(path.read_text())))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_is_one_thing_and_named_for_it(path: Path) -> None:
    if "/migrations/" not in name(path):
        lines = len(path.read_text().splitlines())
        assert lines <= 350, f"{lines} lines: two things"
    assert not NOTHING_INSIDE & {path.stem, *path.relative_to(ROOT).parent.parts}


def test_the_rule_on_the_database_would_notice() -> None:
    for source in (
        "Thread.objects.all()",
        "from django.db import transaction",
        "connection.cursor()",
        "import psycopg",
    ):
        assert list(uses_of_the_database(ast.parse(source))), source
