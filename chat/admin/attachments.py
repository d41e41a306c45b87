from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat import conf
from chat.admin.cells import label, one_line, times, when
from chat.admin.read_only import ReadOnlyAdmin, as_uuid
from chat.models import Attachment, Thread


@admin.register(Attachment)
class AttachmentAdmin(ReadOnlyAdmin[Attachment]):
    """Uploaded files: whose, where, how big. Their bytes are for those who see the thread; none are given out here."""

    thread = "thread"
    list_display = ("name", "owner", "thread_link", "media_type", "bytes", "created")
    list_display_links = ("name",)
    list_filter = ("media_type", ("thread", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("owner", "thread")
    ordering = ("-created_at", "pk")
    sortable_by = ("bytes", "created")
    search_fields = ("filename", f"owner__{get_user_model().USERNAME_FIELD}")
    search_help_text = "A file's name, an owner's name, or exactly: a file's or a thread's id."
    fields = ("name", "id", "owner", "thread_link", "media_type", "bytes", "key", "moments")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attachment]:
        return super().get_queryset(request).defer("thread__metadata")

    def notes(self) -> list[str]:
        most, most_bytes = conf.get("ATTACHMENTS_OF_USER"), filesizeformat(conf.get("ATTACHMENT_BYTES_OF_USER"))
        return [f"One user may keep {most:,} files and {most_bytes}. A file goes with its thread, or with its owner."]

    def ids(self, term: str) -> Q:
        named = as_uuid(term)
        return Q(pk=named) | Q(thread=named) if named else Q(pk__in=[])

    @admin.display(description="file", ordering="filename")
    def name(self, attachment: Attachment) -> SafeString:
        name = one_line(attachment.filename) or "Without a name"
        gone = label("bad", "Deleted") if attachment.deleted_at else ""
        return format_html('<bdi class="chat-title">{}</bdi> {}', name, gone)

    @admin.display(description="thread")
    def thread_link(self, attachment: Attachment) -> SafeString:
        if attachment.thread is None:
            return label("quiet", "Not sent yet")
        return self.link(Thread, attachment.thread_id, attachment.thread.title or "Untitled")

    @admin.display(description="size", ordering="size")
    def bytes(self, attachment: Attachment) -> str:
        return filesizeformat(attachment.size)

    @admin.display(description="uploaded", ordering="created_at")
    def created(self, attachment: Attachment) -> SafeString | str:
        return when(attachment.created_at)

    @admin.display(description="times")
    def moments(self, attachment: Attachment) -> SafeString:
        return times(attachment, "created_at", "deleted_at")
