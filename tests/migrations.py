"""Migrating to and fro within a test, as a deployment does; afterwards the tables are the newest again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.management import call_command


def migrate(target: str | None) -> None:
    """Bring the app's tables to a migration; None is the newest, ``zero`` none at all."""
    call_command("migrate", "chat", *([target] if target else []), verbosity=0, interactive=False)


@pytest.fixture(autouse=True)
def migrated_again() -> Iterator[None]:
    yield
    migrate(None)
