"""A thread among others: what is done in it is to find its own rows, and to change no others."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import AbstractUser

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
