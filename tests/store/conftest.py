<<<<<<< HEAD
from __future__ import annotations

from typing import Any
=======
"""A thread among others: what is done in it is to find its own rows, and to change no others."""

from __future__ import annotations

import uuid
>>>>>>> store1

import pytest
from django.contrib.auth.models import AbstractUser

<<<<<<< HEAD
from chat.access.policy import OwnerOnly
from chat.access.scopes import scope_of
from chat.store.scope import Scope


class Everybody(OwnerOnly):
    """Everybody reads every thread, and writes in none but their own."""

    def may_see(self, user: str) -> str:
        return "true"

    def may_write(self, user: str) -> str:
        return f"chat_threads.owner_id = {user}"


@pytest.fixture
def everybody_reads(settings: Any) -> None:
    settings.CHAT_ACCESS_POLICY = "tests.store.conftest.Everybody"


@pytest.fixture
def other(other_user: AbstractUser) -> Scope:
    return scope_of(other_user)
=======
from chat.access.scopes import scope_of
from chat.store.scope import Scope
from chat.store.threads import open_thread
from tests.store.conversations import conversation


@pytest.fixture
def theirs(other_user: AbstractUser) -> uuid.UUID:
    """Somebody else's thread of the same name, with turns and messages of the same names."""
    scope = scope_of(other_user)
    thread = open_thread(scope, "ours")
    conversation(scope, thread)
    return thread


@pytest.fixture
def thread(asker: Scope, theirs: uuid.UUID) -> uuid.UUID:
    """Ours, with two ended turns; between two threads of the asker's with turns and messages of the same names."""
    threads = [open_thread(asker, name) for name in ("before", "ours", "after")]
    for one in threads:
        conversation(asker, one)
    return threads[1]
>>>>>>> store1
