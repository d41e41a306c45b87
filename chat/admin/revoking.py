"""Lists of what lets somebody in, and can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from chat.admin.read_only import ReadOnlyAdmin

M = TypeVar("M", bound=Model)


class RevokingAdmin(ReadOnlyAdmin[M]):
    """With one action, which who may change the model may take; every row that it revokes is noted in Django's log."""

    actions = ("revoke",)
    #: What is revoked, in the words of the message, and what that means from now on.
    noun: ClassVar[str]
    meaning: ClassVar[str]
    revoke_all: ClassVar[Callable[[Iterable[int]], Any]]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"chat.change_{self.opts.model_name}")

    @admin.action(permissions=["revoke"], description="Revoke the chosen ones")
    def revoke(self, request: HttpRequest, queryset: QuerySet[M]) -> None:
        revoked = list(queryset.filter(revoked_at__isnull=True))
        type(self).revoke_all(one.pk for one in revoked)
        for one in revoked:
            self.log_change(request, one, "Revoked.")
        text = f"1 {self.noun} is revoked" if len(revoked) == 1 else f"{len(revoked)} {self.noun}s are revoked"
        self.message_user(request, f"{text}: {self.meaning}.", messages.SUCCESS)
