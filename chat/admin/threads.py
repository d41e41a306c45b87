from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat import conf
from chat.admin.cells import days, dollars, label, one_line, pretty, sentence, status_label, when
from chat.admin.read_only import ReadOnlyAdmin, as_number, as_uuid
from chat.admin.transcript import read_transcript
from chat.models import BUSY, Message, Thread, TokenUsage, Turn
from chat.store.search import entries_with

if TYPE_CHECKING:
    from typing import TypedDict

    from django_stubs_ext import WithAnnotations

    class Counts(TypedDict):
        message_count: int
        busy: str | None

    CountedThread = WithAnnotations[Thread, Counts]


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("active", "Active"), ("archived", "Archived"), ("deleted", "Deleted")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Thread]) -> QuerySet[Thread]:
        match self.value():
            case "active":
                return queryset.filter(archived_at__isnull=True, deleted_at__isnull=True)
            case "archived":
                return queryset.filter(archived_at__isnull=False, deleted_at__isnull=True)
            case "deleted":
                return queryset.filter(deleted_at__isnull=False)
        return queryset


class BusyFilter(admin.SimpleListFilter):
    title = "turn"
    parameter_name = "busy"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, sentence(status.label)) for status in BUSY]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Thread]) -> QuerySet[Thread]:
        if self.value() not in BUSY:
            return queryset
        return queryset.filter(pk__in=Turn.objects.filter(status=self.value(), thread__isnull=False).values("thread"))


@admin.register(Thread)
class ThreadAdmin(ReadOnlyAdmin[Thread]):
    """Threads; the page of one is its transcript."""

    thread = "pk"
    hidden = ("metadata",)
    is_audited = True
    list_display = ("name", "owner", "messages", "turn", "last_activity", "created")
    list_display_links = ("name",)
    list_filter = (StateFilter, BusyFilter, "updated_at")
    list_select_related = ("owner",)
    ordering = ("-updated_at",)
    sortable_by = ("name", "last_activity", "created")
    search_fields = ("title", f"owner__{get_user_model().USERNAME_FIELD}")
    search_help_text = "A title, words of its messages, an owner's name, or exactly: a thread, client or turn id."
    fields = ()
    change_form_template = "admin/chat/thread/change_form.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Thread]:
        messages = Message.objects.filter(thread=OuterRef("pk"), is_current=True, deleted_at__isnull=True)
        counted = messages.order_by().values("thread").annotate(number=Count("pk")).values("number")
        busy = Turn.objects.filter(thread=OuterRef("pk"), status__in=BUSY).values("status")[:1]
        return (
            super()
            .get_queryset(request)
            .annotate(
                message_count=Coalesce(Subquery(counted), 0, output_field=IntegerField()),
                busy=Subquery(busy),
            )
        )

    def notes(self) -> list[str]:
        trash, idle = (days(conf.get(name)) for name in ("KEEP_DELETED_DAYS", "KEEP_THREADS_DAYS"))
        told = f"Deleted threads are gone for good {f'after {trash}' if trash else 'only when their owner says so'}"
        idling = f"and all others {idle} after their last activity" if idle else "and all others are kept"
        return [f"{told}, {idling}: manage.py purge_threads sees to it."]

    def says(self, term: str) -> Q:
        return Q(pk__in=entries_with(term).values("thread"))

    def ids(self, term: str) -> Q:
        named = Q(client_id=term) | Q(pk__in=Turn.objects.filter(turn_id=term, thread__isnull=False).values("thread"))
        if thread_id := as_uuid(term):
            named |= Q(pk=thread_id)
        if number := as_number(term):
            named |= Q(pk__in=Turn.objects.filter(pk=number, thread__isnull=False).values("thread"))
        return named

    @admin.display(description="title", ordering="title")
    def name(self, thread: Thread) -> SafeString:
        return format_html('<bdi class="chat-title">{}</bdi> {}', shown_title(thread), state_label(thread))

    @admin.display(description="messages")
    def messages(self, thread: CountedThread) -> str:
        return f"{thread.message_count:,}"

    @admin.display(description="turn", empty_value="")
    def turn(self, thread: CountedThread) -> SafeString | None:
        if thread.busy is None:
            return None
        return status_label(thread.busy)

    @admin.display(description="last activity", ordering="updated_at")
    def last_activity(self, thread: Thread) -> SafeString | str:
        return when(thread.updated_at)

    @admin.display(description="created", ordering="created_at")
    def created(self, thread: Thread) -> SafeString | str:
        return when(thread.created_at)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Thread | None = None,
    ) -> HttpResponse:
        assert obj is not None  # nobody adds threads here
        with_messages = self.may_view(request, Message)
        with_turns = self.may_view(request, Turn)
        with_usage = self.may_view(request, TokenUsage)
        context |= {
            "thread": obj,
            "shown_title": shown_title(obj),
            "state": state_label(obj),
            "facts": self.facts(obj, with_usage=with_usage),
            "metadata": pretty(obj.metadata) if obj.metadata else "",
            "messages_url": self.url(Message, "changelist") if with_messages else "",
            "turns_url": self.url(Turn, "changelist") if with_turns else "",
            "usage_url": self.url(TokenUsage, "changelist") if with_usage else "",
            "transcript": read_transcript(
                obj, before=as_number(request.GET.get("before", "")), with_turns=with_turns, with_usage=with_usage
            )
            if with_messages
            else None,
        }
        return super().render_change_form(request, context, add, change, form_url, obj)

    def facts(self, thread: Thread, *, with_usage: bool) -> list[tuple[str, str | datetime]]:
        """What the head of the transcript tells."""
        facts: list[tuple[str, str | datetime | None]] = [
            ("Owner", thread.owner.get_username()),
            ("Thread id", str(thread.pk)),
            ("Client id", thread.client_id),
            ("Created", thread.created_at),
            ("Last activity", thread.updated_at),
            ("Archived", thread.archived_at),
            ("Deleted", thread.deleted_at),
            ("Turns", f"{Turn.objects.filter(thread=thread).count():,}"),
        ]
        if with_usage:
            spent = TokenUsage.objects.filter(thread=thread).aggregate(
                tokens=Coalesce(Sum("total_tokens"), 0, output_field=IntegerField()),
                micros=Coalesce(Sum("cost_micros"), 0, output_field=IntegerField()),
            )
            facts += [("Tokens", f"{int(spent['tokens']):,}"), ("Cost", dollars(int(spent["micros"])))]
        return [(name, value) for name, value in facts if value]


def shown_title(thread: Thread) -> str:
    return one_line(thread.title) or "Untitled"


def state_label(thread: Thread) -> SafeString | str:
    """Whether a thread is put away."""
    if thread.deleted_at:
        return label("bad", "Deleted")
    return label("quiet", "Archived") if thread.archived_at else ""
