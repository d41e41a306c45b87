from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from chat.models.indexes import LongNamedIndex


class CopilotChat(models.Model):
    """A conversation whose history is a JSONB array.

    What is ours has database defaults, so that an older program's INSERT goes on working beside us; a trigger raises
    ``messages_version`` where that program changes the array.
    """

    id = models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    title = models.TextField(db_default="", blank=True)
    model = models.TextField(db_default="", blank=True)
    messages = models.JSONField(db_default=[])
    # Raised by every change of the history: what a whole-array save is checked against.
    messages_version = models.IntegerField(db_default=0)
    active_stream_id = models.TextField(null=True, blank=True)
    config = models.JSONField(db_default={})
    # Writes of the mirror that failed since the chat was last reconciled (phase ``dual``).
    mirror_failures = models.IntegerField(db_default=0)
    # The array lacks what was written in phase ``mirror_only``, until ``--from-mirror`` builds it anew.
    array_behind = models.BooleanField(db_default=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "copilot_chats"
        indexes = [
            models.Index(fields=["user", "-updated_at", "id"], name="copilot_chats_activity_idx"),
            # Small: what somebody has to look at.
            models.Index(fields=["id"], name="copilot_chats_failures_idx", condition=Q(mirror_failures__gt=0)),
            models.Index(fields=["id"], name="copilot_chats_behind_idx", condition=Q(array_behind=True)),
        ]

    def __str__(self) -> str:
        return self.title or f"Copilot chat {self.pk}"


class CopilotMessage(models.Model):
    """The mirror: one element of a chat's array as a row. ``content`` is the whole element.

    ``seq`` orders a transcript, since times tie; it is given under the chat's row lock. Deleting is the database's
    work (see the migration): hence ``DO_NOTHING``.
    """

    id = models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)
    chat = models.ForeignKey(
        CopilotChat, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="mirror"
    )
    message_id = models.TextField()
    seq = models.IntegerField()
    role = models.TextField()
    content = models.JSONField()
    model = models.TextField(null=True, blank=True)
    stream_id = models.TextField(null=True, blank=True)
    tokens_in = models.IntegerField(null=True, blank=True)
    tokens_out = models.IntegerField(null=True, blank=True)
    created_at = models.DateTimeField()  # the element's ``timestamp``
    updated_at = models.DateTimeField(db_default=Now())
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "copilot_chat_messages"
        verbose_name = "copilot message"
        constraints = [
            models.UniqueConstraint(fields=["chat", "message_id"], name="copilot_chat_messages_chat_message_key")
        ]
        indexes = [
            LongNamedIndex(
                fields=["chat", "created_at", "id"],
                name="copilot_chat_messages_transcript_idx",
                condition=Q(deleted_at__isnull=True),
            ),
            models.Index(
                fields=["chat", "seq"], name="copilot_chat_messages_seq_idx", condition=Q(deleted_at__isnull=True)
            ),
            LongNamedIndex(
                fields=["chat", "stream_id"],
                name="copilot_chat_messages_stream_idx",
                condition=Q(stream_id__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} message {self.message_id}"


class ReconcileMode(models.TextChoices):
    INSERT = "insert"  # what is missing is added
    CHECK = "check"  # nothing is written
    REPAIR = "repair"  # every drift is mended
    FROM_MIRROR = "from_mirror"  # the arrays are built anew


class ReconcileRun(models.Model):
    """One run of ``manage.py reconcile_messages``; unfinished where it was killed."""

    id = models.BigAutoField(primary_key=True)
    mode = models.CharField(max_length=16, choices=ReconcileMode.choices)
    # "all", "since <interval>", "chat <id>, …" or "array behind".
    scope = models.TextField()
    phase = models.CharField(max_length=16)
    chats = models.IntegerField(db_default=0)
    messages = models.BigIntegerField(db_default=0)
    # How many of each kind of drift were found, and how many were mended.
    found = models.JSONField(db_default={})
    mended = models.JSONField(db_default={})
    examples = models.JSONField(db_default=[])
    # Whether no drift is left (rejected elements are none); null while it runs.
    is_clean = models.BooleanField(null=True)
    started_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "copilot_reconcile_runs"

    def __str__(self) -> str:
        return f"{self.mode} of {self.scope}"
