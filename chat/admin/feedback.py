from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat.admin.cells import NOTHING, label, one_line, sentence, times, when
from chat.admin.read_only import ReadOnlyAdmin, as_number, as_uuid
from chat.models import Feedback, Rating, Thread

# Characters of a comment that a line of the list shows.
COMMENT = 160


@admin.register(Feedback)
class FeedbackAdmin(ReadOnlyAdmin[Feedback]):
    """What people think of answers. A comment is written for whoever runs the product, so its list shows it; what it is
    about stands in the transcript.
    """

    thread = "message__thread"
    list_display = ("opinion", "beginning", "thread_link", "user", "given")
    list_display_links = ("opinion",)
    list_filter = ("rating", ("comment", admin.EmptyFieldListFilter), "updated_at")
    list_select_related = ("message__thread", "user")
    ordering = ("-updated_at", "-pk")
    sortable_by = ("given",)
    search_fields = ("comment", f"user__{get_user_model().USERNAME_FIELD}")
    search_help_text = "Words of a comment, a user's name, or exactly: a message or thread id."
    fields = ("opinion", "whole", "user", "thread_link", "transcript", "moments")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Feedback]:
        return super().get_queryset(request).defer("message__parts", "message__metadata", "message__thread__metadata")

    def ids(self, term: str) -> Q:
        named = Q(pk__in=[])
        if thread_id := as_uuid(term):
            named |= Q(message__thread=thread_id)
        if number := as_number(term):
            named |= Q(message=number)
        return named

    @admin.display(description="opinion", ordering="rating")
    def opinion(self, feedback: Feedback) -> SafeString:
        return label("good" if feedback.rating == Rating.UP else "bad", sentence(feedback.rating))

    @admin.display(description="comment")
    def beginning(self, feedback: Feedback) -> SafeString | str:
        text = one_line(feedback.comment)
        text = text if len(text) <= COMMENT else f"{text[:COMMENT]}…"
        return format_html('<span class="chat-preview" dir="auto">{}</span>', text) if text else NOTHING

    @admin.display(description="comment")
    def whole(self, feedback: Feedback) -> SafeString | str:
        return format_html('<span dir="auto">{}</span>', feedback.comment) if feedback.comment else NOTHING

    @admin.display(description="thread")
    def thread_link(self, feedback: Feedback) -> SafeString:
        return self.link(Thread, feedback.message.thread_id, feedback.message.thread.title or "Untitled")

    @admin.display(description="the answer")
    def transcript(self, feedback: Feedback) -> SafeString | str:
        return self.place(feedback.message)

    @admin.display(description="given", ordering="updated_at")
    def given(self, feedback: Feedback) -> SafeString | str:
        return when(feedback.updated_at)

    @admin.display(description="times")
    def moments(self, feedback: Feedback) -> SafeString:
        return times(feedback, "created_at", "updated_at")
