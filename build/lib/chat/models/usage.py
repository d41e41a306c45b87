from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from chat.models.copilot import CopilotChat
from chat.models.message import Message
from chat.models.thread import Thread
from chat.models.turn import Turn


class UsageSource(models.TextChoices):
    REPORTED = "reported"  # the provider's own figures
    ESTIMATED = "estimated"  # counted by us from what was streamed
    MISSING = "missing"  # nobody knows; the row says that the turn was run


class TokenUsage(models.Model):
    """Tokens and cost of one assistant message. It outlives the message it paid for."""

    id = models.BigAutoField(primary_key=True)
    turn = models.ForeignKey(
        Turn,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="usage",
    )
    message = models.ForeignKey(
        Message,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="usage",
    )
    thread = models.ForeignKey(
        Thread, null=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="usage"
    )
    copilot_chat = models.ForeignKey(
        CopilotChat, null=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="usage"
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    prompt_tokens = models.BigIntegerField(db_default=0)
    completion_tokens = models.BigIntegerField(db_default=0)
    total_tokens = models.BigIntegerField(db_default=0)
    cached_tokens = models.BigIntegerField(db_default=0)
    reasoning_tokens = models.BigIntegerField(db_default=0)
    cost_micros = models.BigIntegerField(db_default=0)  # millionths of a US dollar
    usage_type = models.CharField(max_length=50, db_default="chat")
    source = models.CharField(max_length=16, choices=UsageSource.choices)
    model_breakdown = models.JSONField(db_default={})
    call_details = models.JSONField(db_default={})
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "token_usage"
        verbose_name_plural = "token usage"
        indexes = [
            # Totals of a user, and those of everybody: rows come in the order of their time, so a small index will do.
            models.Index(fields=["user", "created_at"], name="token_usage_user_created_idx"),
            BrinIndex(fields=["created_at"], autosummarize=True, name="token_usage_created_idx"),
        ]
        constraints = [
            models.CheckConstraint(name="token_usage_source_valid", condition=Q(source__in=UsageSource.values)),
            models.UniqueConstraint(fields=["turn"], condition=Q(turn__isnull=False), name="token_usage_turn_key"),
            # Built in migration 0004, after duplicates are gone.
            models.UniqueConstraint(
                fields=["message"], condition=Q(message__isnull=False), name="token_usage_message_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.total_tokens} tokens ({self.source})"
