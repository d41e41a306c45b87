from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import AbstractUser, Group


@pytest.fixture
def teams(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy that docs/access.md shows, word for word."""
    text = (Path(django_settings.BASE_DIR) / "docs" / "access.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code
    module = ModuleType("team_example")
    exec(code.group(1), module.__dict__)
    monkeypatch.setitem(sys.modules, "team_example", module)
    settings.CHAT_ACCESS_POLICY = "team_example.Teams"


@pytest.fixture
def mates(user: AbstractUser, other_user: AbstractUser) -> None:
    group = Group.objects.create(name="Sales")
    group.user_set.add(user, other_user)
