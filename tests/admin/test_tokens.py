from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from chat.models import ApiToken
from chat.store.tokens import create_token, digest, find_token
from tests.admin.pages import html, list_url, page_url
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def test_a_digest_is_on_no_page_and_cannot_be_asked_for(operator: Client) -> None:
    stored = digest(create_token(UserFactory.create().username, "laptop"))
    token = ApiToken.objects.get(digest=stored)
    for url in (list_url(ApiToken), page_url(token), page_url(token, "history")):
        page = html(operator, url)
        assert "laptop" in page
        assert stored not in page
        assert stored[:12] not in page
    assert operator.get(list_url(ApiToken), {"digest__startswith": stored[:1]}).status_code == 400
    assert operator.get(list_url(ApiToken), {"digest": stored}).status_code == 400
    assert "laptop" not in html(operator, list_url(ApiToken), q=stored[:12]).partition("result_list")[2]


def test_the_list_says_how_a_token_is_made(operator: Client) -> None:
    assert "manage.py create_token" in html(operator, list_url(ApiToken))


def test_a_revoked_token_is_refused_from_then_on_and_it_is_known_who_did_it(operator: Client) -> None:
    user = UserFactory.create()
    lost, kept = create_token(user.username, "lost"), create_token(user.username, "kept")
    row = ApiToken.objects.get(digest=digest(lost))
    for _ in range(2):  # the second time changes nothing
        revoke(operator, row)
    assert find_token(lost) is None
    assert getattr(find_token(kept), "user", None) == user
    row.refresh_from_db()
    assert row.revoked_at is not None
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.object_id) == ("operator", str(row.pk))
    assert "Revoked" in html(operator, page_url(row, "history"))
    assert "Revoked" in html(operator, page_url(row))


def test_who_may_only_view_tokens_cannot_revoke_one(staff: Callable[..., Client]) -> None:
    user = UserFactory.create()
    token = create_token(user.username)
    browser = staff("view_apitoken")
    assert "Revoke" not in html(browser, list_url(ApiToken))
    revoke(browser, ApiToken.objects.get(digest=digest(token)))
    assert getattr(find_token(token), "user", None) == user
    assert "Revoke" in html(staff("view_apitoken", "change_apitoken"), list_url(ApiToken))


def test_there_is_no_form_to_make_one(operator: Client) -> None:
    assert operator.get(reverse("admin:chat_apitoken_add")).status_code == 403


def revoke(browser: Client, token: ApiToken) -> None:
    browser.post(list_url(ApiToken), {"action": "revoke", "_selected_action": [str(token.pk)]}, follow=True)
