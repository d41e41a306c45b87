from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import AbstractUser, Permission
from django.test import Client

from chat.models import (
    ApiToken,
    Attachment,
    CopilotChat,
    Feedback,
    Message,
    Share,
    Thread,
    TokenUsage,
    ToolApproval,
    Turn,
)
from tests.factories import UserFactory

HISTORY = [Thread, Turn, Message, TokenUsage, ToolApproval, CopilotChat, Feedback, Attachment]
MODELS = [*HISTORY, ApiToken, Share]


def logged_in(user: AbstractUser) -> Client:
    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(user)
    return client


@pytest.fixture
def operator(db: None) -> Client:
    """The browser of a superuser."""
    return logged_in(UserFactory.create(username="operator", is_staff=True, is_superuser=True))


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """``staff("view_thread")``: the browser of somebody with just these permissions."""

    def make(*permissions: str) -> Client:
        user = UserFactory.create(is_staff=True)
        found = Permission.objects.filter(content_type__app_label="chat", codename__in=permissions)
        assert found.count() == len(permissions)
        user.user_permissions.set(found)
        return logged_in(user)

    return make
