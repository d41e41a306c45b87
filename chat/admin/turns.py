from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import DurationField, ExpressionWrapper, F, Prefetch, Q, QuerySet
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from chat import conf
from chat.admin.approvals import told_approval
from chat.admin.cells import NOTHING, json_block, label, one_line, span, status_label, times, when
from chat.admin.read_only import ReadOnlyAdmin, as_number, as_uuid
from chat.admin.transcript import told_usage
from chat.models import ApprovalStatus, CopilotChat, Message, Thread, TokenUsage, ToolApproval, Turn, TurnStatus

if TYPE_CHECKING:
    from typing import TypedDict

    from django_stubs_ext import WithAnnotations

    class Times(TypedDict):
        ran_for: timedelta | None
        heartbeat_age: timedelta | None

    TimedTurn = WithAnnotations[Turn, Times]


def lease() -> timedelta:
    """How long a streaming turn without a heartbeat is believed to have a process (promise P6)."""
    return timedelta(seconds=conf.get("LEASE_SECONDS"))


class LeaseFilter(admin.SimpleListFilter):
    title = "lease"
    parameter_name = "lease"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("expired", "Expired: streaming, but no heartbeat")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Turn]) -> QuerySet[Turn]:
        if self.value() != "expired":
            return queryset
        return queryset.filter(status=TurnStatus.STREAMING, heartbeat_at__lt=Now() - lease())


@admin.register(Turn)
class TurnAdmin(ReadOnlyAdmin[Turn]):
    """Turns: what runs, what ended and how, and what hangs."""

    thread = "thread"
    is_audited = True
    hidden = ("request",)
    actions = ("recover",)
    list_display = ("number", "state", "whose", "ran", "begun")
    list_display_links = ("number",)
    list_filter = ("status", LeaseFilter, "trigger", "created_at")
    list_select_related = ("thread", "copilot_chat", "user")
    ordering = ("-pk",)
    sortable_by = ("number",)
    search_fields = ("thread__title", "model", "error_code", f"user__{get_user_model().USERNAME_FIELD}")
    search_help_text = "A thread's title, a user's name, a model, an error code, or exactly: a turn, thread or chat id."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "shown_status",
                    "conversation",
                    "transcript",
                    "user",
                    "turn_id",
                    "trigger",
                    "used_model",
                    "replaced",
                )
            },
        ),
        ("Decisions", {"fields": ("approvals",)}),
        ("Ending", {"fields": ("finish_reason", "error_code", "error_text", "usage")}),
        ("Run", {"fields": ("moments", "ran", "heartbeat", "owner", "epoch", "last_seq")}),
        ("Request", {"fields": ("request_value", "fingerprint")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Turn]:
        # Every age is the database's: only its clock wrote the times.
        ages = {"ran_for": Coalesce("finished_at", Now()) - F("started_at"), "heartbeat_age": Now() - F("heartbeat_at")}
        # A copilot chat is loaded for its title: without its history, which can be megabytes.
        heavy = ("request", "thread__metadata", "copilot_chat__messages", "copilot_chat__config")
        turns = super().get_queryset(request).defer(*heavy)
        turns = turns.prefetch_related(Prefetch("approvals", ToolApproval.objects.only("turn", "tool_name", "status")))
        return turns.annotate(
            **{name: ExpressionWrapper(age, output_field=DurationField()) for name, age in ages.items()}
        )

    def notes(self) -> list[str]:
        kept = span(timedelta(seconds=conf.get("LOG_RETENTION_SECONDS")))
        return [f"The log of a turn is kept for {kept} after its end; the answer stays as long as its thread."]

    def get_ordering(self, request: HttpRequest) -> tuple[Any, ...]:
        # Of those that are stuck, the oldest first.
        return (
            ("heartbeat_at", "pk")
            if request.GET.get(LeaseFilter.parameter_name)
            else tuple(super().get_ordering(request))
        )

    def has_recover_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("chat.change_turn")

    @admin.action(permissions=["recover"], description="Recover the chosen turns whose lease has expired")
    def recover(self, request: HttpRequest, queryset: QuerySet[Turn]) -> None:
        # Not at the start of every command that loads the admin: it brings half the application along.
        from chat.turns.recover import recover_expired

        chosen = list(queryset.filter(status=TurnStatus.STREAMING))
        recovered = [turn for turn in chosen if recover_expired(turn.pk)]
        for turn in recovered:
            self.log_change(request, turn, "Recovered.")
        text = "1 turn is" if len(recovered) == 1 else f"{len(recovered)} turns are"
        text = f"{text} recovered: ended as interrupted, with all that was shown."
        if left := len(chosen) - len(recovered):
            text += f" {left} alive {'was' if left == 1 else 'were'} left alone."
        self.message_user(request, text, messages.SUCCESS if recovered else messages.WARNING)

    def ids(self, term: str) -> Q:
        named = Q(turn_id=term)
        if conversation := as_uuid(term):
            named |= Q(thread=conversation) | Q(copilot_chat=conversation)
        if number := as_number(term):
            named |= Q(pk=number)
        return named

    @admin.display(description="turn", ordering="pk")
    def number(self, turn: Turn) -> str:
        return str(turn.pk)

    @admin.display(description="status")
    def shown_status(self, turn: Turn) -> SafeString:
        return status_label(turn.status)

    @admin.display(description="status")
    def state(self, turn: TimedTurn) -> SafeString:
        """The status, and below it what an operator asks next: why it failed, whether it is alive."""
        below: SafeString | str = ""
        if turn.error_code:
            below = format_html('<code class="chat-error" title="{}">{}</code>', turn.error_text, turn.error_code)
        elif turn.status == TurnStatus.AWAITING_APPROVAL:
            pending = [one.tool_name for one in turn.approvals.all() if one.status == ApprovalStatus.PENDING]
            below = format_html('<span class="chat-aside">{}</span>', one_line(", ".join(pending)))
        elif turn.status == TurnStatus.STREAMING:
            below = format_html('<span class="chat-aside">heartbeat {}</span>', self.heartbeat(turn))
        return format_html('<div class="chat-stack">{}{}</div>', status_label(turn.status), below)

    @admin.display(description="conversation")
    def conversation(self, turn: Turn) -> SafeString:
        if turn.thread is not None:
            return self.link(Thread, turn.thread_id, turn.thread.title or "Untitled")
        assert turn.copilot_chat is not None
        return self.link(CopilotChat, turn.copilot_chat_id, turn.copilot_chat.title or "Copilot chat")

    @admin.display(description="conversation")
    def whose(self, turn: Turn) -> SafeString:
        """The conversation, and below it who has asked which model."""
        below = " · ".join(one_line(name) for name in (turn.user and turn.user.get_username(), turn.model) if name)
        told = '<div class="chat-stack">{}<span class="chat-aside">{}</span></div>'
        return format_html(told, self.conversation(turn), below)

    @admin.display(description="transcript")
    def transcript(self, turn: Turn) -> SafeString | str:
        last = Message.objects.filter(thread=turn.thread_id, turn_id=turn.turn_id).only("thread").order_by("pk").last()
        return NOTHING if last is None else self.place(last)

    @admin.display(description="times")
    def moments(self, turn: Turn) -> SafeString:
        return times(turn, "created_at", "started_at", "heartbeat_at", "stop_requested_at", "finished_at")

    @admin.display(description="model")
    def used_model(self, turn: Turn) -> str:
        return turn.model or NOTHING

    @admin.display(description="duration")
    def ran(self, turn: TimedTurn) -> str:
        return span(turn.ran_for)

    @admin.display(description="heartbeat")
    def heartbeat(self, turn: TimedTurn) -> SafeString | str:
        """Its age while the turn streams; it says nothing of one that does not."""
        if turn.status != TurnStatus.STREAMING:
            return NOTHING
        if turn.heartbeat_age is None:
            return label("bad", "Never")
        age = f"{span(turn.heartbeat_age)} ago"
        return label("bad", age) if turn.heartbeat_age > lease() else age

    @admin.display(description="begun")
    def begun(self, turn: Turn) -> SafeString | str:
        return when(turn.created_at)

    @admin.display(description="replaces")
    def replaced(self, turn: Turn) -> SafeString | str:
        return NOTHING if turn.replaces_id is None else self.link(Turn, turn.replaces_id, f"Turn {turn.replaces_id}")

    @admin.display(description="calls that waited")
    def approvals(self, turn: Turn) -> SafeString | str:
        calls = ToolApproval.objects.filter(turn=turn).select_related("decided_by").order_by("pk")
        told = ((self.link(ToolApproval, one.pk, f"Call {one.pk}"), told_approval(one)) for one in calls)
        return format_html_join("", "<div>{} {}</div>", told) or NOTHING

    @admin.display(description="usage")
    def usage(self, turn: Turn) -> SafeString | str:
        usage = TokenUsage.objects.filter(turn=turn).first()
        return NOTHING if usage is None else self.link(TokenUsage, usage.pk, told_usage(usage))

    @admin.display(description="request")
    def request_value(self, turn: Turn) -> SafeString | str:
        return json_block(turn.request)
