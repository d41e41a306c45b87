from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser

from chat.conf import Phase
from chat.models import CopilotChat, CopilotMessage
from chat.store.scope import Scope
from chat.store.sql import rows
from tests.copilot.chats import chat_with, element
from tests.factories import TurnFactory

NAMES = ("u1", "a1", "u2", "a2", "u3", "a3", "u7", "steer", "mine", "another", "elsewhere")


@pytest.fixture(params=list(Phase))
def phase(request: pytest.FixtureRequest, settings: Any) -> Phase:
    """The test runs in every phase of the roll-out."""
    settings.COPILOT_MESSAGES_PHASE = request.param
    return Phase(request.param)


@pytest.fixture
def bystanders(asker: Scope, other_user: AbstractUser) -> Iterator[list[uuid.UUID]]:
    """Older chats, one of them without its mirror, one somebody else's, whose messages and live turn have the names
    that tests use: nothing in them is to change.
    """
    theirs = [element(name, "assistant" if name[0] == "a" else "user", content="theirs") for name in NAMES]
    chats = [
        chat_with(asker, messages=theirs, active_stream_id="u1"),
        chat_with(asker, messages=theirs, mirrored=False),
        chat_with(Scope(other_user.pk), messages=theirs),
    ]
    CopilotChat.objects.update(created_at="2020-01-01T00:00Z", updated_at="2020-01-01T00:00Z")
    for chat in chats:
        TurnFactory.create(thread=None, copilot_chat_id=chat, user=None, turn_id="u1", status="streaming")
    before = _rows_of(chats)
    yield chats
    assert _rows_of(chats) == before


def _rows_of(chats: list[uuid.UUID]) -> list[Any]:
    return [
        list(CopilotChat.objects.filter(pk__in=chats).order_by("pk").values()),
        list(CopilotMessage.objects.filter(chat__in=chats).order_by("pk").values()),
    ]


@pytest.fixture
def as_they_lie(db: None) -> None:
    """Tables are read in the order in which their rows lie: who wants another one has to ask for it."""
    for way in ("indexscan", "indexonlyscan", "bitmapscan"):
        rows(f"SET LOCAL enable_{way} = off")
