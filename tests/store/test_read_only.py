"""A database that takes no writes is away, for who writes; and a session that may not write is not kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import AbstractUser
from django.db import OperationalError

from chat.models import ApiToken
from chat.store.sql import one_transaction, row, rows
from chat.store.tokens import create_token, find_token

pytestmark = pytest.mark.django_db(transaction=True)


def write() -> None:
    rows("UPDATE chat_threads SET title = ''")


def write_in_a_transaction() -> None:
    with one_transaction():
        write()


def write_by_the_orm() -> None:
    with one_transaction():
        ApiToken.objects.update(name="")


def session() -> int:
    found = row("SELECT pg_backend_pid() AS pid")
    assert found
    return int(found["pid"])


@pytest.mark.parametrize("work", [write, write_in_a_transaction, write_by_the_orm])
def test_a_session_that_may_not_write_is_gone_and_the_next_one_writes(work: Callable[[], None]) -> None:
    rows("SET default_transaction_read_only = on")
    before = session()
    with pytest.raises(OperationalError):
        work()
    assert session() != before
    work()


def test_a_token_is_good_also_where_its_use_cannot_be_noted(user: AbstractUser) -> None:
    token = create_token(user.get_username())
    rows("SET default_transaction_read_only = on")
    found = find_token(token)
    assert found is not None
    assert (found.user_id, found.last_used_at) == (user.pk, None)
    assert find_token(token) is not None
    assert ApiToken.objects.get().last_used_at is not None, "noted by the next session"
