from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.database import Database, Postgres
from tests.acceptance.postgres_owners import shared_folder
from tests.acceptance.preloaded import Nursery
from tests.acceptance.visits import place, visit

__all__ = ["place", "visit"]

logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each request is too much

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


@pytest.fixture(scope="session")
def nursery(reachable_by_all: Path) -> Iterator[Nursery]:
    nursery = Nursery(reachable_by_all)
    yield nursery
    nursery.close()
