"""Tokens, beside others: when their use is noted, and when they end."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.utils import timezone

from chat.models import ApiToken
from chat.store.scope import Scope
from chat.store.threads import create_thread
from chat.store.tokens import add_token, create_token, digest, find_token, revoke_tokens
from tests.races import while_held

pytestmark = pytest.mark.django_db


def test_that_a_token_is_used_is_noted_once_in_a_while_and_of_no_other(
    user: AbstractUser, django_assert_num_queries: Any
) -> None:
    token, beside = (create_token(user.get_username()) for _ in range(2))
    used = ApiToken.objects.filter(digest=digest(token))
    find_token(token)
    first = used.get().last_used_at
    assert first is not None
    with django_assert_num_queries(1):
        find_token(token)
    used.update(last_used_at=first - timedelta(hours=1))
    find_token(token)
    assert used.get().last_used_at > first
    assert ApiToken.objects.get(digest=digest(beside)).last_used_at is None


def test_a_token_ends_once_and_alone(user: AbstractUser) -> None:
    lost, kept = (create_token(user.get_username()) for _ in range(2))
    row = ApiToken.objects.get(digest=digest(lost))
    before = timezone.now() - timedelta(hours=1)
    ApiToken.objects.filter(pk=row.pk).update(revoked_at=before)
    revoke_tokens([row.pk])
    row.refresh_from_db()
    assert row.revoked_at == before
    assert find_token(lost) is None
    assert find_token(kept) is not None


@pytest.mark.django_db(transaction=True)
def test_who_makes_a_token_keeps_nobody_from_writing(asker: Scope, user: AbstractUser) -> None:
    made, _ = while_held(lambda: add_token(asker, "laptop", most=1), lambda: create_thread(asker))
    for token in (made["token"], create_token(user.get_username())):
        assert len(urlsafe_b64decode(token.removeprefix("chat_") + "=")) * 8 == 256, "nobody guesses it"
