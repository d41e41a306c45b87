from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import F, Func, IntegerField, Q, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat.admin.cells import NOTHING, json_block, one_line, times, when
from chat.admin.read_only import ReadOnlyAdmin, as_uuid
from chat.models import CopilotChat

if TYPE_CHECKING:
    from typing import TypedDict

    from django_stubs_ext import WithAnnotations

    class Size(TypedDict):
        stored: int

    SizedChat = WithAnnotations[CopilotChat, Size]


@admin.register(CopilotChat)
class CopilotChatAdmin(ReadOnlyAdmin[CopilotChat]):
    """Copilot chats, without their arrays: one can be megabytes."""

    list_display = ("shown_title", "user", "used_model", "size", "stream", "last_activity")
    list_display_links = ("shown_title",)
    list_filter = (("active_stream_id", admin.EmptyFieldListFilter), "updated_at")
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

    def ids(self, term: str) -> Q:
        named = Q(active_stream_id=term)
        if chat_id := as_uuid(term):
            named |= Q(pk=chat_id)
        return named

    @admin.display(description="title", ordering="title")
    def shown_title(self, chat: CopilotChat) -> SafeString:
        return format_html('<bdi class="chat-title">{}</bdi>', one_line(chat.title) or "Untitled")

    @admin.display(description="model")
    def used_model(self, chat: CopilotChat) -> str:
        return chat.model or NOTHING

    @admin.display(description="history, as stored")
    def size(self, chat: SizedChat) -> str:
        return filesizeformat(chat.stored)

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
