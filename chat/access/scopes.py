"""What a user may see."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from chat.errors import NotAuthenticated
from chat.store.scope import Scope, policy


def scope_of(user: AbstractBaseUser | AnonymousUser | None) -> Scope:
    """The scope of a user, as the access policy makes it. Raises NotAuthenticated for nobody."""
    if user is None or not user.is_authenticated or user.pk is None:
        raise NotAuthenticated
    return policy().scope(user)
