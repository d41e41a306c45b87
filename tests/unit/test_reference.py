"""The pages of the documentation that are made from the code are the code's."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.urls import get_resolver

from chat import conf
from tests.api.endpoints import ENDPOINTS
from tests.api.test_matrix import walk

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("page", ["settings", "http"])
def test_a_page_is_what_the_code_says_now(page: str) -> None:
    told = StringIO()
    call_command("chat_reference", page, stdout=told)
    written = (DOCS / f"{page}.md").read_text()
    assert told.getvalue() == written, f"python manage.py chat_reference {page} > docs/{page}.md"


def test_the_settings_page_has_each_setting_once() -> None:
    page = (DOCS / "settings.md").read_text()
    told = [word.strip("`") for line in page.splitlines() if line.startswith("| `") for word in first_cell(line)]
    assert told == [f"CHAT_{name}" for name in conf.DEFAULTS]


def first_cell(line: str) -> list[str]:
    return line.split("|")[1].strip().split("<br>")


def test_no_view_of_the_api_runs_in_a_transaction_of_the_host_s() -> None:
    """ATOMIC_REQUESTS: what a view has written, the runs must see before the view has returned."""
    looked_at = 0
    for name, _, view in walk(get_resolver().url_patterns):
        if name in ENDPOINTS and hasattr(view, "cls"):
            assert "default" in getattr(view, "_non_atomic_requests", ()), name
            looked_at += 1
    assert looked_at > 20
