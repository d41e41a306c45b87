from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat.admin.cells import NOTHING, dollars, json_block, label, sentence, times, when
from chat.admin.read_only import as_number, as_uuid
from chat.admin.usage_by_day import UsageByDay
from chat.models import CopilotChat, Message, Thread, TokenUsage, Turn, UsageSource

SOURCE_LOOKS: dict[str, str] = {
    UsageSource.REPORTED: "good",
    UsageSource.ESTIMATED: "waiting",
    UsageSource.MISSING: "bad",
}


@admin.register(TokenUsage)
class TokenUsageAdmin(UsageByDay):
    """What turns cost. A row may have outlived its message, its turn and its thread."""

    thread = "thread"
    list_display = (
        "row",
        "user",
        "models",
        "tokens_in",
        "tokens_out",
        "marked_cost",
        "conversation",
        "created",
    )
    list_display_links = ("row",)
    list_filter = ("source", "created_at")
    list_select_related = ("user", "thread", "copilot_chat", "turn")
    ordering = ("-pk",)
    sortable_by = ("row",)
    search_fields = ("thread__title", "turn__model", "usage_type", f"user__{get_user_model().USERNAME_FIELD}")
    search_help_text = "A thread's title, a user's name, a model, a usage type, or exactly: a turn, thread or chat id."
    fieldsets = (
        (None, {"fields": ("user", "conversation", "turn_link", "message_link", "usage_type", "moments")}),
        (
            "Tokens",
            {"fields": ("tokens_in", "tokens_out", "tokens", "cached", "reasoning", "cost", "source_label")},
        ),
        ("Details", {"fields": ("breakdown", "calls")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[TokenUsage]:
        heavy = ("call_details", "thread__metadata", "turn__request", "copilot_chat__messages", "copilot_chat__config")
        return super().get_queryset(request).defer(*heavy)

    def ids(self, term: str) -> Q:
        named = Q(turn__turn_id=term)
        if conversation := as_uuid(term):
            named |= Q(thread=conversation) | Q(copilot_chat=conversation)
        if number := as_number(term):
            named |= Q(turn=number)
        return named

    @admin.display(description="usage", ordering="pk")
    def row(self, usage: TokenUsage) -> str:
        return str(usage.pk)

    @admin.display(description="model")
    def models(self, usage: TokenUsage) -> str:
        # The models that were called; the one asked for is only the second best answer.
        called = usage.model_breakdown if isinstance(usage.model_breakdown, dict) else {}
        return ", ".join(filter(None, called)) or (usage.turn.model if usage.turn else "") or NOTHING

    @admin.display(description="in")
    def tokens_in(self, usage: TokenUsage) -> str:
        return f"{usage.prompt_tokens:,}"

    @admin.display(description="out")
    def tokens_out(self, usage: TokenUsage) -> str:
        return f"{usage.completion_tokens:,}"

    @admin.display(description="total")
    def tokens(self, usage: TokenUsage) -> str:
        return f"{usage.total_tokens:,}"

    @admin.display(description="of them cached")
    def cached(self, usage: TokenUsage) -> str:
        return f"{usage.cached_tokens:,}"

    @admin.display(description="of them reasoning")
    def reasoning(self, usage: TokenUsage) -> str:
        return f"{usage.reasoning_tokens:,}"

    @admin.display(description="cost")
    def cost(self, usage: TokenUsage) -> str:
        return NOTHING if usage.source == UsageSource.MISSING else dollars(usage.cost_micros)

    @admin.display(description="cost")
    def marked_cost(self, usage: TokenUsage) -> SafeString:
        """With its source where that is not the provider."""
        source = "" if usage.source == UsageSource.REPORTED else self.source_label(usage)
        return format_html('<div class="chat-stack"><span>{}</span>{}</div>', self.cost(usage), source)

    @admin.display(description="source")
    def source_label(self, usage: TokenUsage) -> SafeString:
        return label(SOURCE_LOOKS.get(usage.source, "quiet"), sentence(usage.get_source_display()))

    @admin.display(description="conversation")
    def conversation(self, usage: TokenUsage) -> SafeString | str:
        if usage.thread is not None:
            return self.link(Thread, usage.thread_id, usage.thread.title or "Untitled")
        if usage.copilot_chat is not None:
            return self.link(CopilotChat, usage.copilot_chat_id, usage.copilot_chat.title or "Copilot chat")
        return NOTHING

    @admin.display(description="created")
    def created(self, usage: TokenUsage) -> SafeString | str:
        return when(usage.created_at)

    @admin.display(description="times")
    def moments(self, usage: TokenUsage) -> SafeString:
        return times(usage, "created_at")

    @admin.display(description="turn")
    def turn_link(self, usage: TokenUsage) -> SafeString | str:
        return NOTHING if usage.turn is None else self.link(Turn, usage.turn_id, f"Turn {usage.turn_id}")

    @admin.display(description="message")
    def message_link(self, usage: TokenUsage) -> SafeString | str:
        if usage.message_id is None:
            return NOTHING
        return self.link(Message, usage.message_id, f"Message {usage.message_id}")

    @admin.display(description="by model")
    def breakdown(self, usage: TokenUsage) -> SafeString | str:
        return json_block(usage.model_breakdown)

    @admin.display(description="calls")
    def calls(self, usage: TokenUsage) -> SafeString | str:
        return json_block(usage.call_details)
