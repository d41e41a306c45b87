"""Logging in by a password: how often somebody may guess."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError

from chat.access import throttle
from chat.errors import TooManyRequests

# Of a name, whatever its length: what tells two of them apart.
NAME_CHARS = 254


class ThrottledLogin(AuthenticationForm):
    """Looks at no password, not even the right one, where too many were wrong: under this name from this address, or
    under any name from there. Nobody elsewhere is kept out by it. ``refused`` says for how long, where that is so.
    """

    refused: TooManyRequests | None = None

    def clean(self) -> dict[str, Any]:
        address = self.request.META.get("REMOTE_ADDR") if self.request else None
        name = self.cleaned_data.get("username", "")[:NAME_CHARS].casefold()
        try:
            with throttle.logins_of_address.failure(address), throttle.logins.failure((address, name)):
                return super().clean()
        except TooManyRequests as problem:
            self.refused = problem
            raise ValidationError(problem.text, problem.code) from None
