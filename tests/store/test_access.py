"""Whether those who were let in may stay."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import AbstractUser

from chat.models import CopilotChat
from chat.store.access import visible_conversations
from chat.store.scope import Scope
from tests.factories import ThreadFactory

pytestmark = pytest.mark.django_db


def test_each_of_many_askers_is_told_of_each_conversation_by_itself(asker: Scope, other_user: AbstractUser) -> None:
    other = Scope(other_user.pk)
    thread, theirs = ThreadFactory.create(owner_id=asker.user_id).pk, ThreadFactory.create(owner=other_user).pk
    gone = ThreadFactory.create(owner_id=asker.user_id, deleted_at="2026-01-01T00:00:00Z").pk
    chat = CopilotChat.objects.create(user_id=asker.user_id).pk
    seen = {(asker, thread), (asker, chat), (other, theirs)}
    hidden = {(other, thread), (other, chat), (asker, theirs), (asker, gone), (asker, uuid.uuid4())}
    assert visible_conversations(seen | hidden) == seen
