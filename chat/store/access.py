"""Whether those who were let in may stay: sessions, tokens, users and conversations, each kind in one statement."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib import import_module
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.sessions.backends import db, signed_cookies
from django.db import router
from django.utils import timezone

from chat.models import ApiToken
from chat.store.scope import Scope, visible_chat, visible_thread
from chat.store.sql import connection, key_type, rows


def living_sessions(keys: Collection[str]) -> set[str]:
    """Those session keys that are neither logged out nor expired. A session that lives in its own cookie cannot be
    ended by the server, and always counts as living.
    """
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if issubclass(store, signed_cookies.SessionStore):
        return set(keys)
    if issubclass(store, db.SessionStore):  # its cached form, too
        model = store.get_model_class()
        kept = model.objects.using(router.db_for_write(model))  # not a replica, which learns late of a logout
        sessions = kept.filter(session_key__in=keys, expire_date__gt=timezone.now())
        return set(sessions.values_list("session_key", flat=True))
    return {key for key in keys if store().exists(key)}


def living_tokens(pks: Collection[int]) -> set[int]:
    """Those tokens that are not revoked."""
    kept = ApiToken.objects.using(connection().alias)
    return set(kept.filter(pk__in=pks, revoked_at__isnull=True).values_list("pk", flat=True))


def active_users(pks: Collection[Any]) -> dict[Any, AbstractBaseUser]:
    """Those users that are active, by primary key."""
    users = get_user_model()._default_manager.using(connection().alias).in_bulk(list(pks))
    return {pk: user for pk, user in users.items() if user.is_active}


def user_of_name(username: str) -> AbstractBaseUser | None:
    """The user who logs in with that name, active or not."""
    users = get_user_model()._default_manager.using(connection().alias)
    return users.filter(**{get_user_model().USERNAME_FIELD: username}).first()


def visible_conversations(asked: Iterable[tuple[Scope, UUID]]) -> set[tuple[Scope, UUID]]:
    """Those pairs whose thread or copilot chat the asker may (still) see."""
    pairs = list(set(asked))
    kind = key_type()
    user = f"asked.user_id::{kind}"
    found = rows(
        f"""
        SELECT asked.place FROM unnest(%(users)s::text[], %(conversations)s::uuid[])
                                WITH ORDINALITY AS asked (user_id, conversation, place)
          LEFT JOIN chat_threads ON chat_threads.id = asked.conversation
          LEFT JOIN copilot_chats ON copilot_chats.id = asked.conversation
         WHERE {visible_thread(user)} OR {visible_chat(user)}
        """,
        users=[str(scope.user_id) for scope, _ in pairs],
        conversations=[conversation for _, conversation in pairs],
    )
    return {pairs[one["place"] - 1] for one in found}
