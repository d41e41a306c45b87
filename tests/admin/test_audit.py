"""Who looked at whose transcript is noted, and nobody takes it back."""

from __future__ import annotations

import pytest
from django.test import Client

from chat.models import TranscriptView
from tests.admin.pages import copilot_chat, html, list_url, page_url
from tests.factories import MessageFactory, TurnFactory

pytestmark = pytest.mark.django_db


def test_opening_a_transcript_is_noted_and_shown(operator: Client) -> None:
    message = MessageFactory.create()
    rows = [message.thread, message, TurnFactory.create(), copilot_chat()]
    for row in rows:
        html(operator, page_url(row))
    views = list(TranscriptView.objects.order_by("pk").values_list("kind", "seen"))
    assert views == [(row._meta.model_name, str(row.pk)) for row in rows]
    assert TranscriptView.objects.exclude(viewer=None).count() == 4
    page = html(operator, list_url(TranscriptView))
    assert str(message.thread_id) in page
    for view in TranscriptView.objects.all():
        for term in (view.pk, view.seen):
            found = operator.get(list_url(TranscriptView), {"q": term}).context["cl"].result_list
            assert view in found, term
            assert all(str(term) in (str(one.pk), one.seen) for one in found)
    assert html(operator, page_url(TranscriptView.objects.first()))


def test_lists_and_usage_are_no_transcripts(operator: Client) -> None:
    message = MessageFactory.create()
    html(operator, list_url(type(message)))
    assert not TranscriptView.objects.exists()
