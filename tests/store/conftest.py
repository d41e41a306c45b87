"""Who else there is: others who see a thread, and a thread among others, whose own rows alone are found and changed."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser

from chat.access.policy import OwnerOnly
from chat.access.scopes import scope_of
from chat.store.scope import Scope
from chat.store.threads import open_thread
from tests.store.conversations import conversation


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


@pytest.fixture
def theirs(other: Scope) -> uuid.UUID:
    """Somebody else's thread of the same name, with turns and messages of the same names."""
    thread = open_thread(other, "ours")
    conversation(other, thread)
    return thread


@pytest.fixture
def thread(asker: Scope, theirs: uuid.UUID) -> uuid.UUID:
    """Ours, with two ended turns; between two threads of the asker's with turns and messages of the same names."""
    threads = [open_thread(asker, name) for name in ("before", "ours", "after")]
    for one in threads:
        conversation(asker, one)
    return threads[1]
