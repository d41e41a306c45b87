from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat.admin.cells import NOTHING, json_block, label, one_line, sentence, times, when
from chat.admin.read_only import ReadOnlyAdmin, as_number, as_uuid
from chat.models import ApprovalStatus, ToolApproval, Turn

LOOKS: dict[str, str] = {
    ApprovalStatus.PENDING: "waiting",
    ApprovalStatus.APPROVED: "good",
    ApprovalStatus.ANSWERED: "good",
    ApprovalStatus.DENIED: "bad",
    ApprovalStatus.EXPIRED: "quiet",
    ApprovalStatus.WITHDRAWN: "quiet",
}


@admin.register(ToolApproval)
class ToolApprovalAdmin(ReadOnlyAdmin[ToolApproval]):
    """Tool calls that turns waited for, or wait for: what was asked, and who decided what, and when."""

    thread = "turn__thread"
    is_audited = True
    hidden = ("input", "changed_input", "output", "error_text", "reason")
    list_display = ("call", "state", "turn_link", "decider", "decided", "asked")
    list_display_links = ("call",)
    list_filter = ("status", "kind", "created_at")
    list_select_related = ("decided_by",)
    ordering = ("-pk",)
    sortable_by = ("call",)
    search_fields = ("tool_name", f"decided_by__{get_user_model().USERNAME_FIELD}")
    search_help_text = "A tool's name, the name of who decided, or exactly: a turn, thread, chat or call id."
    fieldsets = (
        (None, {"fields": ("call", "kind", "turn_link", "tool_call_id", "approval_id", "asked_input")}),
        ("Decision", {"fields": ("state", "decider", "reason", "changed", "result", "moments")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ToolApproval]:
        return super().get_queryset(request).defer("input", "changed_input", "output")

    def ids(self, term: str) -> Q:
        named = Q(tool_call_id=term)
        if conversation := as_uuid(term):
            named |= Q(turn__thread=conversation) | Q(turn__copilot_chat=conversation)
        if number := as_number(term):
            named |= Q(turn=number)
        return named

    @admin.display(description="tool", ordering="pk")
    def call(self, approval: ToolApproval) -> str:
        return one_line(approval.tool_name)

    @admin.display(description="status")
    def state(self, approval: ToolApproval) -> SafeString:
        return state_label(approval)

    @admin.display(description="turn")
    def turn_link(self, approval: ToolApproval) -> SafeString:
        return self.link(Turn, approval.turn_id, f"Turn {approval.turn_id}")

    @admin.display(description="decided by")
    def decider(self, approval: ToolApproval) -> str:
        return NOTHING if approval.decided_by is None else one_line(approval.decided_by.get_username())

    @admin.display(description="decided")
    def decided(self, approval: ToolApproval) -> SafeString | str:
        return when(approval.decided_at)

    @admin.display(description="asked")
    def asked(self, approval: ToolApproval) -> SafeString | str:
        return when(approval.created_at)

    @admin.display(description="input")
    def asked_input(self, approval: ToolApproval) -> SafeString | str:
        return json_block(approval.input)

    @admin.display(description="changed to")
    def changed(self, approval: ToolApproval) -> SafeString | str:
        return json_block(approval.changed_input)

    @admin.display(description="result of the client")
    def result(self, approval: ToolApproval) -> SafeString | str:
        return json_block(approval.error_text or approval.output)

    @admin.display(description="times")
    def moments(self, approval: ToolApproval) -> SafeString:
        return times(approval, "created_at", "expires_at", "decided_at")


def state_label(approval: ToolApproval) -> SafeString:
    """What became of a call."""
    return label(LOOKS.get(approval.status, "quiet"), sentence(approval.status))


def told_approval(approval: ToolApproval) -> SafeString:
    """A call and what became of it, in a line of its turn's page."""
    who = f" by {approval.decided_by.get_username()}" if approval.decided_by else ""
    return format_html("<bdi>{}</bdi> {}{}", one_line(approval.tool_name), state_label(approval), one_line(who))
