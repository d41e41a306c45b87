from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import F, Func, IntegerField, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat import conf
from chat.admin.cells import NOTHING, json_block, label, one_line, span, times, when
from chat.admin.pairs import LOOKS, pair_view
from chat.admin.read_only import ReadOnlyAdmin, as_number, as_uuid
from chat.conf import Phase, phase
from chat.models import CopilotChat, CopilotMessage, ReconcileRun
from chat.store.drift import DRIFT, Kind, compare
from chat.store.figures import standing
from chat.store.reconcile_chat import repair_chat
from chat.store.side_by_side import side_by_side

# Lines of one page of an array beside its mirror.
PAIRS = 100

if TYPE_CHECKING:
    from typing import TypedDict

    from django_stubs_ext import WithAnnotations

    class Size(TypedDict):
        stored: int

    SizedChat = WithAnnotations[CopilotChat, Size]


class MirrorFilter(admin.SimpleListFilter):
    title = "mirror"
    parameter_name = "mirror"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("failed", "Writes have failed"), ("behind", "Array lacks messages")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[CopilotChat]) -> QuerySet[CopilotChat]:
        match self.value():
            case "failed":
                return queryset.filter(mirror_failures__gt=0)
            case "behind":
                return queryset.filter(array_behind=True)
        return queryset


@admin.register(CopilotChat)
class CopilotChatAdmin(ReadOnlyAdmin[CopilotChat]):
    """Copilot chats, without their arrays: one can be megabytes."""

    hidden = ("messages", "config")
    is_audited = True
    list_display = ("shown_title", "user", "used_model", "size", "mirror", "last_activity")
    list_display_links = ("shown_title",)
    list_filter = (MirrorFilter, ("active_stream_id", admin.EmptyFieldListFilter), "updated_at")
    change_form_template = "admin/chat/copilotchat/change_form.html"
    list_select_related = ("user",)
    ordering = ("-updated_at",)
    sortable_by = ("shown_title", "last_activity")
    search_fields = ("title", "model", f"user__{get_user_model().USERNAME_FIELD}")
    search_help_text = "A title, a user's name, a model, or exactly: a chat id, a stream id."
    fields = (
        "shown_title",
        "id",
        "user",
        "used_model",
        "size",
        "messages_version",
        "stream",
        "config_value",
        "moments",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[CopilotChat]:
        # Its size on disk, which is known without reading it.
        stored = Func(F("messages"), function="pg_column_size", output_field=IntegerField())
        return super().get_queryset(request).defer("messages", "config").annotate(stored=stored)

    def notes(self) -> list[str]:
        """How the mirror of all chats does."""
        if phase() == Phase.JSONB:
            return ["There is no mirror in phase jsonb."]
        told = {(name, of): value for name, of, value in standing(conf.get("LEASE_SECONDS"))}
        drift = [(kind, int(told.get(("chat_mirror_drift", kind), 0))) for kind in DRIFT]
        left = ", ".join(f"{number:,} {kind}" for kind, number in drift if number)
        age = told.get(("chat_mirror_check_age_seconds", ""))
        if age is None:
            compared = format_html("{} {}", label("waiting", "Never compared"), "in full with the arrays.")
        else:
            verdict = label("bad", f"Drift: {left}") if left else label("good", "No drift")
            compared = format_html(
                "{} when it was last compared in full, {} ago.", verdict, span(timedelta(seconds=age))
            )
        failed = int(told["chat_mirror_failed_chats", ""])
        since = f"Writes to {failed:,} chat{'s' * (failed != 1)} have failed since." if failed else ""
        return [format_html("Mirror, in phase {}: {} {}", phase(), compared, since)]

    def ids(self, term: str) -> Q:
        named = Q(active_stream_id=term)
        if chat_id := as_uuid(term):
            named |= Q(pk=chat_id)
        return named

    @admin.display(description="title", ordering="title")
    def shown_title(self, chat: CopilotChat) -> SafeString:
        return format_html('<bdi class="chat-title chat-preview">{}</bdi>', one_line(chat.title) or "Untitled")

    @admin.display(description="model")
    def used_model(self, chat: CopilotChat) -> str:
        return chat.model or NOTHING

    @admin.display(description="size")
    def size(self, chat: SizedChat) -> str:
        return filesizeformat(chat.stored)

    @admin.display(description="mirror")
    def mirror(self, chat: CopilotChat) -> SafeString | str:
        if chat.array_behind:
            return label("waiting", "Array lacks messages")
        if chat.mirror_failures:
            return label("bad", f"{chat.mirror_failures:,} failed write{'s' * (chat.mirror_failures > 1)}")
        return NOTHING

    @admin.display(description="live stream")
    def stream(self, chat: CopilotChat) -> str:
        return chat.active_stream_id or NOTHING

    @admin.display(description="last activity", ordering="updated_at")
    def last_activity(self, chat: CopilotChat) -> SafeString | str:
        return when(chat.updated_at)

    @admin.display(description="times")
    def moments(self, chat: CopilotChat) -> SafeString:
        return times(chat, "created_at", "updated_at")

    @admin.display(description="config")
    def config_value(self, chat: CopilotChat) -> SafeString | str:
        return json_block(chat.config)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.reconcile_view)
        own = path("<uuid:chat_id>/reconcile/", view, name="chat_copilotchat_reconcile")
        return [own, *super().get_urls()]

    def may_reconcile(self, request: HttpRequest) -> bool:
        """Whoever may change the mirror's rows, in a phase in which the array is the truth."""
        return phase() in (Phase.DUAL, Phase.MIRROR_READS) and request.user.has_perm("chat.change_copilotmessage")

    def reconcile_view(self, request: HttpRequest, chat_id: UUID) -> HttpResponse:
        """Mend the mirror of one chat, and go back to its page."""
        chat = self.get_object(request, str(chat_id))
        if request.method != "POST" or chat is None or not self.may_reconcile(request):
            raise PermissionDenied
        done = repair_chat(chat.pk)
        mended = done.mended.total()
        if done.behind:
            told = "Nothing was changed: its array lacks messages. Run reconcile_messages --from-mirror first."
            self.message_user(request, told, messages.WARNING)
        elif done.busy:
            self.message_user(request, "Somebody else writes this chat. Try again.", messages.WARNING)
        elif mended:
            self.message_user(request, f"{mended:,} difference{'s were' if mended > 1 else ' was'} mended.")
        else:
            self.message_user(request, "There was nothing to mend.")
        return redirect("admin:chat_copilotchat_change", chat.pk, permanent=False)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: CopilotChat | None = None,
    ) -> HttpResponse:
        assert obj is not None  # nobody adds chats here
        allowed = self.may_view(request, CopilotMessage) and phase() != Phase.JSONB
        only_drift = "drift" in request.GET
        offset = as_number(request.GET.get("offset", "")) or 0
        found = compare([obj.pk]).counts.get(obj.pk, Counter()) if allowed else Counter()
        pairs = side_by_side(obj.pk, offset=offset, limit=PAIRS + 1, only_drift=only_drift) if allowed else None
        drifted = any(found[kind] for kind in DRIFT)
        context |= {
            "chat": obj,
            "shown_title": one_line(obj.title) or "Untitled",
            "state": self.mirror(obj) if obj.mirror_failures or obj.array_behind else "",
            "verdicts": [(LOOKS[kind], f"{found[kind]:,} {kind}") for kind in Kind if found[kind]]
            or ([("good", "No difference")] if allowed and not obj.array_behind else []),
            "drifted": drifted,
            "only_drift": only_drift,
            "pairs": None if pairs is None else [pair_view(pair) for pair in pairs[:PAIRS]],
            # As text: a template would put separators into a number.
            "next_offset": str(offset + PAIRS) if pairs is not None and len(pairs) > PAIRS else "",
            "reconcile_url": reverse("admin:chat_copilotchat_reconcile", args=[obj.pk])
            if drifted and self.may_reconcile(request)
            else "",
        }
        return super().render_change_form(request, context, add, change, form_url, obj)


@admin.register(ReconcileRun)
class ReconcileRunAdmin(ReadOnlyAdmin[ReconcileRun]):
    """What each reconcile found and mended."""

    list_display = ("begun", "mode", "scope", "in_phase", "verdict", "chat_count", "drift", "rejected", "took")
    list_display_links = ("begun",)
    list_filter = ("mode", "is_clean", "started_at")
    ordering = ("-started_at",)
    sortable_by = ("begun",)
    search_fields = ("scope",)
    search_help_text = "A chat's id, or an interval."
    fields = (
        "mode",
        "scope",
        "in_phase",
        "verdict",
        "chat_count",
        "message_count",
        "found_value",
        "mended_value",
        "example_values",
        "moments",
    )

    def ids(self, term: str) -> Q:
        return Q(pk=as_number(term)) if as_number(term) else Q(pk__in=[])

    @admin.display(description="started", ordering="started_at")
    def begun(self, run: ReconcileRun) -> SafeString | str:
        return when(run.started_at)

    @admin.display(description="phase")
    def in_phase(self, run: ReconcileRun) -> str:
        return run.phase

    @admin.display(description="result")
    def verdict(self, run: ReconcileRun) -> SafeString:
        if run.finished_at is None:
            return label("running", "Not finished")
        return label("good", "Clean") if run.is_clean else label("bad", "Drift is left")

    @admin.display(description="chats")
    def chat_count(self, run: ReconcileRun) -> str:
        return f"{run.chats:,}"

    @admin.display(description="messages")
    def message_count(self, run: ReconcileRun) -> str:
        return f"{run.messages:,}"

    @admin.display(description="drift")
    def drift(self, run: ReconcileRun) -> str:
        return ", ".join(f"{run.found[kind]:,} {kind}" for kind in DRIFT if run.found.get(kind)) or NOTHING

    @admin.display(description="rejected")
    def rejected(self, run: ReconcileRun) -> str:
        return f"{run.found.get(Kind.REJECTED, 0):,}"

    @admin.display(description="took")
    def took(self, run: ReconcileRun) -> str:
        return NOTHING if run.finished_at is None else span(run.finished_at - run.started_at)

    @admin.display(description="found")
    def found_value(self, run: ReconcileRun) -> SafeString | str:
        return json_block(run.found)

    @admin.display(description="mended")
    def mended_value(self, run: ReconcileRun) -> SafeString | str:
        return json_block(run.mended)

    @admin.display(description="examples")
    def example_values(self, run: ReconcileRun) -> SafeString | str:
        return json_block(run.examples)

    @admin.display(description="times")
    def moments(self, run: ReconcileRun) -> SafeString:
        return times(run, "started_at", "finished_at")
