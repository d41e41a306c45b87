from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.management.color import Style
from django.db.backends.postgresql.operations import DatabaseOperations

from chat import conf
from chat.access.scopes import scope_of
from chat.store.scope import Scope
from chat.testing.client import Client
from chatproject import embedded_postgres
from tests.factories import UserFactory
from tests.postgres import UNSAFE
from tests.worker_beside import worker_beside

# A shell starts its background jobs with Ctrl-C ignored, and every child inherits that: tests that press it would wait.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
pytest_plugins = ["chat.testing.plugin"]
# Folders of tests that drive whole servers.
ALONE = ("acceptance", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(HERE).parts[0] in ALONE:
            item.add_marker(pytest.mark.alone)
        if item.get_closest_marker("in_process") and conf.get("RUNNER") == "worker":
            item.add_marker(pytest.mark.skip("with workers it is otherwise: see tests/acceptance/test_workers.py"))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """The database server is up before pytest-django makes a database on it, one for each of xdist's workers."""
    if settings.EMBEDDED_POSTGRES:
        embedded_postgres.start(settings.EMBEDDED_POSTGRES, options=UNSAFE)


@pytest.fixture(scope="session", autouse=True)
def quick_flush() -> Iterator[None]:
    """Tests that commit are cleaned up after by DELETE: TRUNCATE makes some hundred files anew, which takes longer
    than most of the tests.
    """

    def deletes(self: DatabaseOperations, style: Style, tables: list[str], **options: bool) -> list[str]:
        statements = [f"DELETE FROM {self.quote_name(table)}" for table in tables]
        return ["SET session_replication_role = replica", *statements, "RESET session_replication_role"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", deletes)
        yield


@pytest.fixture
def user(db: None) -> AbstractUser:
    return UserFactory.create()


@pytest.fixture
def other_user(db: None) -> AbstractUser:
    return UserFactory.create()


@pytest.fixture
def asker(user: AbstractUser) -> Scope:
    return scope_of(user)


@pytest.fixture
async def drained(chat_process: None) -> AsyncIterator[None]:
    """No run of the test outlives it. With ``CHAT_RUNNER=worker`` in the environment the runs are those of a worker
    beside the application.
    """
    async with worker_beside() if conf.get("RUNNER") == "worker" else nullcontext():
        yield


@pytest.fixture
def client(user: AbstractUser, chat_client: Callable[[AbstractUser], Client]) -> Client:
    """The ASGI application, asked by ``user`` with a bearer token."""
    return chat_client(user)


@pytest.fixture
def other_client(other_user: AbstractUser, chat_client: Callable[[AbstractUser], Client]) -> Client:
    return chat_client(other_user)


def needed(program: str, what: str) -> str:
    """The path of a program that tests need: without it they are skipped, and an error under CI."""
    path = shutil.which(program)
    if path is None:
        if os.environ.get("CI"):
            raise RuntimeError(f"{program} is missing: {what}")
        pytest.skip(f"{program} is missing: {what}")
    return path
