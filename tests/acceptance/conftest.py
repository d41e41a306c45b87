from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.database import Database, Postgres
from tests.acceptance.postgres_owners import shared_folder

reachable_by_all = pytest.fixture(shared_folder, scope="session")


@pytest.fixture(scope="session")
def postgres(reachable_by_all: Path) -> Iterator[Postgres]:
    server = Postgres(reachable_by_all)
    yield server
    server.close()


@pytest.fixture
def database(postgres: Postgres) -> Database:
    """A database of the test's own."""
    return postgres.database()
