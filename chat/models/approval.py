from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import MD5, Now

from chat.models.turn import Turn


class ApprovalKind(models.TextChoices):
    """What a call waits for."""

    APPROVAL = "approval"  # a person must allow it
    OUTPUT = "output"  # the client runs the tool


class ApprovalStatus(models.TextChoices):
    """What became of a call that waited. The first decision stays."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    ANSWERED = "answered"  # by the client that ran the tool: with an output, or with an error
    EXPIRED = "expired"  # nobody decided in time
    WITHDRAWN = "withdrawn"  # the turn was stopped


class ToolApproval(models.Model):
    """A tool call that a turn waited for, or waits for, and who decided what about it."""

    id = models.BigAutoField(primary_key=True)
    turn = models.ForeignKey(
        Turn, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="approvals"
    )
    tool_call_id = models.TextField()  # of up to 4,096 characters: too long for an index
    approval_id = models.TextField(db_default="", blank=True)
    tool_name = models.CharField(max_length=256)
    kind = models.CharField(max_length=16, choices=ApprovalKind.choices)
    status = models.CharField(max_length=16, choices=ApprovalStatus.choices, db_default=ApprovalStatus.PENDING)
    input = models.JSONField(null=True)  # as the model wrote it
    changed_input = models.JSONField(null=True, blank=True)  # as the person who approved it did
    output = models.JSONField(null=True, blank=True)
    error_text = models.TextField(db_default="", blank=True)
    reason = models.TextField(db_default="", blank=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "chat_tool_approvals"
        constraints = [
            models.UniqueConstraint(F("turn"), MD5(F("tool_call_id")), name="chat_tool_approvals_call_key"),
            models.CheckConstraint(name="chat_tool_approvals_kind_valid", condition=Q(kind__in=ApprovalKind.values)),
            models.CheckConstraint(
                name="chat_tool_approvals_status_valid", condition=Q(status__in=ApprovalStatus.values)
            ),
            models.CheckConstraint(
                name="chat_tool_approvals_decided",
                condition=Q(status=ApprovalStatus.PENDING, decided_at__isnull=True)
                | (~Q(status=ApprovalStatus.PENDING) & Q(decided_at__isnull=False)),
            ),
        ]
        indexes = [
            # What the sweeper looks for: those that nobody has decided in time.
            models.Index(
                fields=["expires_at"],
                name="chat_tool_approvals_expiry_idx",
                condition=Q(status=ApprovalStatus.PENDING),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tool_name} ({self.status})"
