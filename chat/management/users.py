"""The users that commands name."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser
from django.core.management.base import CommandError

from chat.store.access import user_of_name


def named_user(username: str) -> AbstractBaseUser:
    """The user of that name. Raises CommandError."""
    user = user_of_name(username)
    if user is None:
        raise CommandError(f"There is no user {username!r}.")
    return user
