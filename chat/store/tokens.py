"""Bearer tokens: made once, kept as a digest, looked up by it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.utils import timezone

from chat.errors import NotFound, TooManyTokens
from chat.models import ApiToken
from chat.store.scope import Scope
from chat.store.sql import UNAVAILABLE, connection, one_transaction, rows

PREFIX = "chat_"
# How stale last_used_at may be: a write for every request would cost more than it tells.
USED_EVERY = timedelta(minutes=1)
NOTE_USE = """
UPDATE chat_api_tokens SET last_used_at = clock_timestamp()
 WHERE id = %(pk)s AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - %(every)s::interval)"""
REVOKE = """
UPDATE chat_api_tokens SET revoked_at = clock_timestamp()
 WHERE id = ANY (%(pks)s::bigint[]) AND revoked_at IS NULL"""
TOLD = ("id", "name", "created_at", "last_used_at")


def create_token(username: str, name: str = "") -> str:
    """Make a token for a user and return it; it cannot be read again. Raises the user model's DoesNotExist."""
    user = get_user_model()._default_manager.db_manager(connection().alias).get_by_natural_key(username)
    token = PREFIX + secrets.token_urlsafe(32)
    _all().create(user=user, name=name, digest=digest(token))
    return token


def find_token(token: str) -> ApiToken | None:
    """The token's row with its user, who is active; None for any other. Notes that it was used."""
    alias, users = connection().alias, get_user_model()
    # Put together by hand: Django takes four times as long to make this statement as to run it, for every request.
    table, key = map(connection().ops.quote_name, (users._meta.db_table, str(users._meta.pk.column)))
    holders = users._base_manager.using(alias).raw(
        f"""
        SELECT holder.*, t.id AS chat_token_id, t.last_used_at AS chat_token_used_at
          FROM chat_api_tokens t
          JOIN {table} holder ON holder.{key} = t.user_id
         WHERE t.digest = %s AND t.revoked_at IS NULL
        """,
        [digest(token)],
    )
    holder: Any = next(iter(holders), None)
    if holder is None or not holder.is_active:
        return None
    names = ("id", "user_id", "last_used_at")
    found = ApiToken.from_db(alias, names, (holder.chat_token_id, holder.pk, holder.chat_token_used_at))
    found.user = holder
    # By our own clock, which is near enough for a minute: asking the database is a round trip for every request.
    if found.last_used_at is None or found.last_used_at < timezone.now() - USED_EVERY:
        with suppress(*UNAVAILABLE):  # of a database that cannot be written to, what there is can be read
            rows(NOTE_USE, pk=found.pk, every=USED_EVERY)
    return found


def add_token(scope: Scope, name: str, *, most: int) -> dict[str, Any]:
    """A new token of the asker's, with ``token``, which cannot be read again.

    Race: two at once where one is left. The user's row is locked while they are counted. Raises TooManyTokens.
    """
    with one_transaction():
        users = get_user_model()._default_manager.using(connection().alias)
        users.select_for_update(no_key=True).get(pk=scope.user_id)
        if _all().filter(user_id=scope.user_id, revoked_at__isnull=True).count() >= most:
            raise TooManyTokens
        token = PREFIX + secrets.token_urlsafe(32)
        made = _all().create(user_id=scope.user_id, name=name, digest=digest(token))
    return {**_shown(made.pk), "token": token}


def list_tokens(scope: Scope) -> list[dict[str, Any]]:
    """The asker's tokens that are good, newest first."""
    return list(_all().filter(user_id=scope.user_id, revoked_at__isnull=True).order_by("-pk").values(*TOLD))


def revoke_token(scope: Scope, pk: int) -> None:
    """From now on, requests with this token of the asker's are nobody's. Raises NotFound."""
    if not _all().filter(pk=pk, user_id=scope.user_id).exists():
        raise NotFound
    revoke_tokens([pk])


def _all() -> QuerySet[ApiToken]:
    """Where they are written: a replica may not know yet that one was revoked."""
    return ApiToken.objects.using(connection().alias)


def _shown(pk: int) -> dict[str, Any]:
    return dict(_all().filter(pk=pk).values(*TOLD).get())


def revoke_tokens(pks: Iterable[int]) -> None:
    """From now on, requests with these tokens are nobody's."""
    rows(REVOKE, pks=list(pks))


def digest(token: str) -> str:
    """What is stored of a token. A fast hash will do: a token is 256 random bits, not a password."""
    return hashlib.sha256(token.encode()).hexdigest()
