"""A country's way to write numbers is for people: what a program reads back from a page has no separators."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from chat.admin import copilot, transcript
from chat.store.scope import Scope
from tests.admin.conftest import logged_in
from tests.admin.pages import html, page_url, said
from tests.copilot.chats import chat_with
from tests.factories import MessageFactory, ThreadFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def germany(settings: Any) -> None:
    settings.LANGUAGE_CODE = "de"
    settings.USE_THOUSAND_SEPARATOR = True


def test_the_older_messages_of_a_transcript_are_reached(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "PAGE_MESSAGES", 1)
    thread = ThreadFactory.create()
    for number in (1_000_001, 1_000_002):
        MessageFactory.create(pk=number, thread=thread, parts=said(f"Message {number}"))
    assert 'href="?before=1000002"' in html(operator, page_url(thread))


def test_the_next_messages_of_a_copilot_chat_are_reached(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copilot, "PAIRS", 1)
    chat = chat_with(Scope(UserFactory.create().pk), *(f"m{number}" for number in range(1002)))
    page = html(operator, f"/admin/chat/copilotchat/{chat}/change/", offset=999)
    assert 'href="?offset=1000#mirror"' in page


def test_the_page_tells_its_script_bytes_days_and_who_is_here(settings: Any) -> None:
    settings.CHAT_ATTACHMENT_BYTES = 20_971_520
    settings.CHAT_SHARE_DAYS, settings.CHAT_SHARE_MOST_DAYS = 3650, 0
    page = html(logged_in(UserFactory.create(pk=1_000_003)), "/")
    assert 'data-most-bytes="20971520"' in page
    assert '<option value="3650" selected>' in page
    assert 'data-user="1000003"' in page
