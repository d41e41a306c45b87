from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser

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
