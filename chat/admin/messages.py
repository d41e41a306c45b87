from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import F, Func, IntegerField, Q, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from chat.admin.cells import NOTHING, json_block, label, sentence, times, when
from chat.admin.parts import part_views
from chat.admin.read_only import ReadOnlyAdmin, as_number, as_uuid
from chat.admin.transcript import badges, told_usage
from chat.models import Message, Role, Thread, TokenUsage, Turn
from chat.store.search import entries_with

if TYPE_CHECKING:
    from typing import TypedDict

    from django_stubs_ext import WithAnnotations

    class Size(TypedDict):
        stored: int

    SizedMessage = WithAnnotations[Message, Size]

ROLE_LOOKS: dict[str, str] = {Role.USER: "running", Role.ASSISTANT: "good", Role.SYSTEM: "quiet"}


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin[Message]):
    """Messages of threads, one by one. Their list shows nothing of what they say: who wants to read opens one, which is
    noted.
    """

    hidden = ("parts", "metadata")

    thread = "thread"
    is_audited = True
    list_display = ("number", "role_label", "size", "thread_link", "by", "created")
    list_display_links = ("number",)
    list_filter = ("role", "is_current", ("deleted_at", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("thread", "author")
    ordering = ("-pk",)
    sortable_by = ("number",)
    search_fields = ("thread__title", "model", f"author__{get_user_model().USERNAME_FIELD}")
    search_help_text = (
        "Words of a message, a thread's title, an author's name, a model, "
        "or exactly: a message, turn, thread or client id."
    )
    fieldsets = (
        (None, {"fields": ("role_label", "state", "thread_link", "author", "used_model", "content")}),
        ("Belongs to", {"fields": ("transcript", "turn_link", "client_id", "usage", "moments")}),
        ("As stored", {"fields": ("metadata_value", "parts_value"), "classes": ("collapse",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        # Its size on disk, which is known without reading it.
        stored = Func(F("parts"), function="pg_column_size", output_field=IntegerField())
        return super().get_queryset(request).defer("parts", "thread__metadata").annotate(stored=stored)

    def says(self, term: str) -> Q:
        return Q(pk__in=entries_with(term).values("message"))

    def ids(self, term: str) -> Q:
        named = Q(turn_id=term) | Q(client_id=term)
        if thread_id := as_uuid(term):
            named |= Q(thread=thread_id)
        if number := as_number(term):
            named |= Q(pk=number)
        return named

    @admin.display(description="message", ordering="pk")
    def number(self, message: Message) -> str:
        return str(message.pk)

    @admin.display(description="role")
    def role_label(self, message: Message) -> SafeString:
        return label(ROLE_LOOKS.get(message.role, "quiet"), sentence(message.get_role_display()))

    @admin.display(description="size")
    def size(self, message: SizedMessage) -> SafeString:
        return format_html("{} {}", filesizeformat(message.stored), badge_labels(message))

    @admin.display(description="thread")
    def thread_link(self, message: Message) -> SafeString:
        return self.link(Thread, message.thread_id, message.thread.title or "Untitled")

    @admin.display(description="by")
    def by(self, message: Message) -> str:
        return message.author.get_username() if message.author else message.model or NOTHING

    @admin.display(description="model")
    def used_model(self, message: Message) -> str:
        return message.model or NOTHING

    @admin.display(description="state")
    def state(self, message: Message) -> SafeString | str:
        return badge_labels(message) or "As sent"

    @admin.display(description="created")
    def created(self, message: Message) -> SafeString | str:
        return when(message.created_at)

    @admin.display(description="turn")
    def turn_link(self, message: Message) -> SafeString | str:
        if message.turn_id is None:
            return NOTHING
        turn = Turn.objects.filter(thread=message.thread_id, turn_id=message.turn_id).only("pk").first()
        return message.turn_id if turn is None else self.link(Turn, turn.pk, message.turn_id)

    @admin.display(description="usage")
    def usage(self, message: Message) -> SafeString | str:
        usage = TokenUsage.objects.filter(message=message).first()
        return NOTHING if usage is None else self.link(TokenUsage, usage.pk, told_usage(usage))

    @admin.display(description="content")
    def content(self, message: Message) -> str:
        parts = part_views(message.parts)
        return render_to_string("admin/chat/_parts.html", {"parts": parts}) if parts else NOTHING

    @admin.display(description="transcript")
    def transcript(self, message: Message) -> SafeString | str:
        return self.place(message)

    @admin.display(description="times")
    def moments(self, message: Message) -> SafeString:
        return times(message, "created_at", "updated_at", "deleted_at")

    @admin.display(description="metadata")
    def metadata_value(self, message: Message) -> SafeString | str:
        return json_block(message.metadata)

    @admin.display(description="parts")
    def parts_value(self, message: Message) -> SafeString | str:
        return json_block(message.parts)


def badge_labels(message: Message) -> SafeString:
    return format_html_join(" ", "{}", ((label(look, text),) for look, text in badges(message)))
