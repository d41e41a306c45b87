from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat.admin.cells import label, times, when
from chat.admin.read_only import as_number
from chat.admin.revoking import RevokingAdmin
from chat.models import ApiToken
from chat.store.tokens import revoke_tokens


@admin.register(ApiToken)
class ApiTokenAdmin(RevokingAdmin[ApiToken]):
    """Bearer tokens: who has which, and taking them back. A token is made where it can be shown once, not here.

    Its digest is shown nowhere.
    """

    hidden = ("digest",)
    noun, meaning = "token", "requests with it are refused from now on"
    revoke_all = revoke_tokens
    list_display = ("shown_name", "user", "state", "last_used", "created")
    list_display_links = ("shown_name",)
    list_filter = (("revoked_at", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("user",)
    ordering = ("-pk",)
    sortable_by = ("shown_name", "last_used", "created")
    search_fields = ("name", f"user__{get_user_model().USERNAME_FIELD}")
    search_help_text = "A token's name or a user's."
    fields = ("shown_name", "user", "state", "moments")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        return super().get_queryset(request).defer("digest")

    def notes(self) -> list[str]:
        command = format_html("<code>{}</code>", 'python manage.py create_token USERNAME --name "what it is for"')
        told = "A token can be shown only at the moment it is made, so it is made on the command line: {}"
        return [format_html(told, command)]

    def ids(self, term: str) -> Q:
        number = as_number(term)
        return Q(pk=number) if number is not None else Q(pk__in=[])

    @admin.display(description="name", ordering="name")
    def shown_name(self, token: ApiToken) -> str:
        return token.name or f"Token {token.pk}"

    @admin.display(description="state")
    def state(self, token: ApiToken) -> SafeString:
        return label("bad", "Revoked") if token.revoked_at else label("good", "Valid")

    @admin.display(description="times")
    def moments(self, token: ApiToken) -> SafeString:
        return times(token, "created_at", "last_used_at", "revoked_at")

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, token: ApiToken) -> SafeString | str:
        return when(token.last_used_at)

    @admin.display(description="created", ordering="created_at")
    def created(self, token: ApiToken) -> SafeString | str:
        return when(token.created_at)
