"""`make coverage` has a bar for lines and one for branches, and neither makes up for the other."""

from __future__ import annotations

from typing import Any

from tests.covered import missed, table


def counted(lines: int, branches: int) -> dict[str, Any]:
    """A file, or a whole, of a hundred lines and ten branches."""
    summary = {"covered_lines": lines, "num_statements": 100, "covered_branches": branches, "num_branches": 10}
    return {"summary": summary}


def test_each_bar_is_one_of_its_own() -> None:
    assert missed({"totals": counted(95, 9)["summary"]}) == []
    assert missed({"totals": counted(100, 8)["summary"]}) == ["branches: 80.00 %, and 90 % are wanted"]
    assert missed({"totals": counted(94, 10)["summary"]}) == ["lines: 94.00 %, and 95 % are wanted"]


def test_packages_are_told_one_a_line_with_all_that_is_in_them() -> None:
    files = {
        "chat/conf.py": counted(100, 10),
        "chat/api/views.py": counted(90, 10),
        "chat/api/deep/er.py": counted(80, 5),
    }
    assert list(table({"files": files, "totals": counted(90, 9)["summary"]}))[2:] == [
        "| chat | 100.0 % | 100.0 % |",
        "| chat/api | 85.0 % | 75.0 % |",
        "| all | 90.0 % | 90.0 % |",
    ]
