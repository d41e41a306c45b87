"""The fault kit as pytest fixtures: ``pytest_plugins = ["chat.testing.plugin"]`` in the project's ``conftest.py``.

It stands on pytest-django; tests that use these are ``django_db(transaction=True)``, since turns commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from channels.routing import get_default_application
from django.db import connections

from chat.store.tokens import create_token
from chat.testing.client import Client
from chat.testing.invariants import EndedTurn, assert_database_is_sound
from chat.turns import run
from chat.turns.process import end_process

# Seconds that a task may take to notice that the process has ended.
LATE_SECONDS = 2.0


@pytest_asyncio.fixture
async def chat_process() -> AsyncIterator[None]:
    """The application's own tasks and connections end with the test: no turn outlives it, and no task."""
    run.accept_turns_again()
    before = asyncio.all_tasks()
    yield
    await end_process()
    run.accept_turns_again()
    await sync_to_async(connections.close_all)()
    late = asyncio.all_tasks() - before - {asyncio.current_task()}
    if late:
        _, late = await asyncio.wait(late, timeout=LATE_SECONDS)
    assert not late, f"tasks that outlive the test: {late}"


@pytest.fixture
def chat_client(chat_process: None) -> Callable[[Any], Client]:
    """Makes a client of the application in this process for a user: ``await chat_client(user).send("t1", "Hello")``.

    A synchronous call, so an asynchronous test makes its clients in fixtures or with ``sync_to_async``.
    """
    get_default_application()  # configures logging, which takes the handler of ``caplog`` away: not within a test
    return lambda user: Client({"authorization": f"Bearer {create_token(user.get_username())}"})


@pytest.fixture
def scripted(settings: Any) -> None:
    """The agent plays the scripts that ``chat.testing.scripted.script_of`` puts into user messages."""
    settings.CHAT_AGENT = "chat.testing.scripted.agent"


@pytest.fixture
def sound(chat_process: None) -> Iterator[Callable[[], list[EndedTurn]]]:
    """Checks the whole database when it is called, and once more behind the test: every turn has ended, its log is
    without gaps and folds to what is stored, nothing stands twice.
    """
    yield assert_database_is_sound
    assert_database_is_sound()
