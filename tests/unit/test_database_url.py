"""What a DATABASE_URL becomes."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import ConnectionHandler

from chatproject.settings import database


def parameters(url: str) -> dict[str, Any]:
    found: dict[str, Any] = ConnectionHandler({"default": database(url)})["default"].get_connection_params()
    return found


def test_one_that_names_no_database_is_told_so_by_django() -> None:
    with pytest.raises(ImproperlyConfigured, match="NAME"):
        parameters("postgresql://chat@db.internal")


def test_one_may_name_a_service_instead() -> None:
    assert parameters("postgresql:///?service=chat")["service"] == "chat"
