from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q
from django.utils.safestring import SafeString

from chat.admin.cells import NOTHING, times, when
from chat.admin.read_only import SEARCH, ReadOnlyAdmin, as_number
from chat.models import CopilotChat, Message, Thread, ToolApproval, TranscriptView, Turn

PAGES = {model._meta.model_name: model for model in (Thread, Message, Turn, ToolApproval, CopilotChat)}


@admin.register(TranscriptView)
class TranscriptViewAdmin(ReadOnlyAdmin[TranscriptView]):
    """Who of the staff has opened whose transcript, or has looked for words in all of them, and when."""

    list_display = ("number", "viewer", "kind", "what", "viewed")
    list_display_links = ("number",)
    list_filter = ("kind", "viewed_at")
    list_select_related = ("viewer",)
    ordering = ("-pk",)
    sortable_by = ("number",)
    search_fields = (f"viewer__{get_user_model().USERNAME_FIELD}",)
    search_help_text = "A viewer's name, or exactly: the id of what was seen."
    fields = ("viewer", "kind", "what", "moments")

    def ids(self, term: str) -> Q:
        number = as_number(term)
        return Q(seen=term) | (Q(pk=number) if number is not None else Q())

    @admin.display(description="view", ordering="pk")
    def number(self, view: TranscriptView) -> str:
        return str(view.pk)

    @admin.display(description="seen")
    def what(self, view: TranscriptView) -> SafeString | str:
        if view.kind == SEARCH:
            return f"Words in the list of {view.seen}s"
        model = PAGES.get(view.kind)
        return self.link(model, view.seen, view.seen) if model else NOTHING

    @admin.display(description="when", ordering="viewed_at")
    def viewed(self, view: TranscriptView) -> SafeString | str:
        return when(view.viewed_at)

    @admin.display(description="times")
    def moments(self, view: TranscriptView) -> SafeString:
        return times(view, "viewed_at")
