from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from chat.models.thread import Thread


class Role(models.TextChoices):
    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"


class Message(models.Model):
    """One message of a thread: a role, and parts as the AI SDK's ``UIMessage`` has them."""

    id = models.BigAutoField(primary_key=True)
    thread = models.ForeignKey(Thread, on_delete=models.DO_NOTHING, db_constraint=False, related_name="messages")
    # The turn that made it; null for rows that no turn made, which never collide.
    turn_id = models.CharField(max_length=128, null=True, blank=True)
    role = models.CharField(max_length=16, choices=Role.choices)
    parts = models.JSONField(db_default=[])
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    # The name that the client gave its optimistic message.
    client_id = models.CharField(max_length=128, null=True, blank=True)
    model = models.CharField(max_length=200, db_default="", blank=True)
    metadata = models.JSONField(db_default={}, blank=True)
    # False while a regenerate runs, and for what was replaced.
    is_current = models.BooleanField(db_default=True)
    # When it last became current; null for an answer that never was.
    current_at = models.DateTimeField(null=True, blank=True, db_default=Now())
    # What it follows in its conversation. A message may be followed by several, of which one is current.
    parent = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    # The first version of the same message; null for that one itself.
    version_of = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    deleted_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "chat_messages"
        constraints = [
            models.CheckConstraint(name="chat_messages_role_valid", condition=Q(role__in=Role.values)),
            # One user row and one assistant row a turn, whoever races (built in migration 0003).
            models.UniqueConstraint(
                fields=["thread", "turn_id", "role"],
                condition=Q(turn_id__isnull=False),
                name="chat_messages_thread_turn_role_key",
            ),
            # However many versions there are, one history is current.
            models.UniqueConstraint(
                fields=["parent"],
                condition=Q(is_current=True, deleted_at__isnull=True),
                name="chat_messages_current_child_key",
            ),
        ]
        indexes = [
            models.Index(
                fields=["thread", "id"],
                name="chat_messages_current_idx",
                condition=Q(is_current=True, deleted_at__isnull=True),
            ),
            models.Index(
                fields=["version_of"], name="chat_messages_versions_idx", condition=Q(version_of__isnull=False)
            ),
            # What follows a message: for what is restored with it.
            models.Index(fields=["parent"], name="chat_messages_parent_idx", condition=Q(is_current=False)),
        ]

    def __str__(self) -> str:
        return f"{self.role} message {self.pk}"
