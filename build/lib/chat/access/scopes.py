"""What a user may see."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from chat.errors import NotAuthenticated
from chat.store.scope import Scope


def scope_of(user: AbstractBaseUser | AnonymousUser) -> Scope:
    """The scope of a user: the threads and copilot chats they own; for a superuser also everybody's usage. Raises
    NotAuthenticated for nobody.
    """
    if not user.is_authenticated or user.pk is None:
        raise NotAuthenticated
    return Scope(user_id=user.pk, all_usage=bool(getattr(user, "is_superuser", False)))
