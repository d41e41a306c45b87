from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from chat import conf
from chat.admin.cells import NOTHING, days, exact, label, times, when
from chat.admin.read_only import as_number, as_uuid
from chat.admin.revoking import RevokingAdmin
from chat.models import Share, Thread
from chat.store.shares import revoke_shares

GOOD = Q(revoked_at__isnull=True) & (Q(expires_at__isnull=True) | Q(expires_at__gt=Now()))


class GoodFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("valid", "Valid"), ("revoked", "Revoked"), ("expired", "Expired")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Share]) -> QuerySet[Share]:
        match self.value():
            case "valid":
                return queryset.filter(GOOD)
            case "revoked":
                return queryset.filter(revoked_at__isnull=False)
            case "expired":
                return queryset.filter(revoked_at__isnull=True, expires_at__lte=Now())
        return queryset


@admin.register(Share)
class ShareAdmin(RevokingAdmin[Share]):
    """Links that show a thread to whoever has them, and taking them back. Neither what one shows nor its digest is told
    here.
    """

    thread = "thread"
    hidden = ("digest", "snapshot")
    noun, meaning = "link", "who opens one is told that there is nothing"
    revoke_all = revoke_shares
    list_display = ("number", "thread_link", "owner", "state", "until", "created")
    list_display_links = ("number",)
    list_filter = (GoodFilter, "created_at")
    list_select_related = ("thread", "owner")
    ordering = ("-pk",)
    sortable_by = ("number",)
    search_fields = ("thread__title", f"owner__{get_user_model().USERNAME_FIELD}")
    search_help_text = "A thread's title, an owner's name, or exactly: a link's or a thread's id."
    fields = ("number", "thread_link", "owner", "state", "until", "moments")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Share]:
        return super().get_queryset(request).defer("thread__metadata", *self.hidden)

    def notes(self) -> list[str]:
        usual, most = map(days, (conf.usual_share_days(), conf.get("SHARE_MOST_DAYS")))
        usually = f"A link is good for {usual}" if usual else "A link is good until it is revoked"
        return [
            f"{usually} where its maker says nothing, and {f'for {most} at most' if most else 'for ever if wished'}."
        ]

    def ids(self, term: str) -> Q:
        named = Q(pk__in=[])
        if thread_id := as_uuid(term):
            named |= Q(thread=thread_id)
        if number := as_number(term):
            named |= Q(pk=number)
        return named

    @admin.display(description="link", ordering="pk")
    def number(self, share: Share) -> str:
        return f"Link {share.pk}"

    @admin.display(description="thread")
    def thread_link(self, share: Share) -> SafeString:
        return self.link(Thread, share.thread_id, share.thread.title or "Untitled")

    @admin.display(description="state")
    def state(self, share: Share) -> SafeString:
        if share.revoked_at:
            return label("bad", "Revoked")
        if share.expires_at and share.expires_at <= timezone.now():
            return label("quiet", "Expired")
        return label("quiet", "Thread deleted") if share.thread.deleted_at else label("good", "Valid")

    @admin.display(description="good until")
    def until(self, share: Share) -> str:
        return exact(share.expires_at) if share.expires_at else NOTHING

    @admin.display(description="created")
    def created(self, share: Share) -> SafeString | str:
        return when(share.created_at)

    @admin.display(description="times")
    def moments(self, share: Share) -> SafeString:
        return times(share, "created_at", "expires_at", "revoked_at")
