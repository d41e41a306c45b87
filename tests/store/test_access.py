"""Whether those who were let in may stay."""

from __future__ import annotations

import uuid
from importlib import import_module

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import override_settings

from chat.models import CopilotChat
from chat.store.access import living_sessions, visible_conversations
from chat.store.scope import Scope
from tests.factories import ThreadFactory

pytestmark = pytest.mark.django_db


def test_each_of_many_askers_is_told_of_each_conversation_by_itself(asker: Scope, other: Scope) -> None:
    thread, theirs = (ThreadFactory.create(owner_id=scope.user_id).pk for scope in (asker, other))
    gone = ThreadFactory.create(owner_id=asker.user_id, deleted_at="2026-01-01T00:00:00Z").pk
    chat = CopilotChat.objects.create(user_id=asker.user_id).pk
    seen = {(asker, thread), (asker, chat), (other, theirs)}
    hidden = {(other, thread), (other, chat), (asker, theirs), (asker, gone), (asker, uuid.uuid4())}
    assert visible_conversations(seen | hidden) == seen


def session() -> str:
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    store["seen"] = True
    store.save()
    return str(store.session_key)


def test_a_session_lives_until_it_is_logged_out_or_expires() -> None:
    there, gone, expired = (session() for _ in range(3))
    Session.objects.filter(pk=gone).delete()
    Session.objects.filter(pk=expired).update(expire_date="2026-01-01T00:00:00Z")
    assert living_sessions([there, gone, expired]) == {there}
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.cache"):
        assert living_sessions([cached := session(), there]) == {cached}
    with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
        assert living_sessions([there, gone]) == {there, gone}, "which no server can end"
