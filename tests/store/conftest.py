from __future__ import annotations

from typing import Any

import pytest

from chat.access.policy import OwnerOnly


class Everybody(OwnerOnly):
    """Everybody reads every thread, and writes in none but their own."""

    def may_see(self, user: str) -> str:
        return "true"

    def may_write(self, user: str) -> str:
        return f"chat_threads.owner_id = {user}"


@pytest.fixture
def everybody_reads(settings: Any) -> None:
    settings.CHAT_ACCESS_POLICY = "tests.store.conftest.Everybody"
