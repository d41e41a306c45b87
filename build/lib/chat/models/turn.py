from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from chat.models.copilot import CopilotChat
from chat.models.thread import Thread


class TurnStatus(models.TextChoices):
    """Where a turn is. An ended turn (the last four) never changes its status again."""

    QUEUED = "queued"  # -> streaming, when the turn before it has ended; -> stopped, when cancelled
    STREAMING = "streaming"  # -> awaiting_approval, or any of the four endings
    AWAITING_APPROVAL = "awaiting_approval"  # -> streaming, when answered; -> stopped, when given up
    COMPLETED = "completed"  # the agent came to its end
    STOPPED = "stopped"  # somebody asked for it; the partial answer is kept
    INTERRUPTED = "interrupted"  # the process went away; the partial answer is kept
    FAILED = "failed"  # the agent raised; error_code and error_text say what


class Trigger(models.TextChoices):
    """What made the turn."""

    SUBMIT = "submit"  # a new user message
    REGENERATE = "regenerate"  # another answer to a message that has one
    EDIT = "edit"  # a new version of a user message
    INBOX = "inbox"  # a message without a reader


BUSY = (TurnStatus.STREAMING, TurnStatus.AWAITING_APPROVAL)
ENDED = (TurnStatus.COMPLETED, TurnStatus.STOPPED, TurnStatus.INTERRUPTED, TurnStatus.FAILED)


class Turn(models.Model):
    """One run of an agent in answer to one request, in a thread or in a copilot chat.

    Deleting is the database's work (see migration 0002): hence ``DO_NOTHING`` here.
    """

    id = models.BigAutoField(primary_key=True)
    # Without an index of their own: the unique constraints below begin with them.
    thread = models.ForeignKey(
        Thread,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="turns",
    )
    copilot_chat = models.ForeignKey(
        CopilotChat,
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="turns",
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    turn_id = models.CharField(max_length=128)
    # All that a run needs: a turn can be run from the database alone.
    request = models.JSONField(db_default={})
    trigger = models.CharField(max_length=16, choices=Trigger.choices, db_default=Trigger.SUBMIT)
    fingerprint = models.CharField(max_length=64)
    status = models.CharField(max_length=20, choices=TurnStatus.choices, db_default=TurnStatus.STREAMING)
    # Whoever takes a turn over raises it; what was begun under a lower one writes nothing any more.
    epoch = models.IntegerField(db_default=1)
    owner = models.TextField(db_default="", blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    stop_requested_at = models.DateTimeField(null=True, blank=True)
    last_seq = models.IntegerField(db_default=0)
    replaces = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="replaced_by",
    )
    model = models.CharField(max_length=200, db_default="", blank=True)
    finish_reason = models.CharField(max_length=32, db_default="", blank=True)
    error_code = models.CharField(max_length=64, db_default="", blank=True)
    error_text = models.TextField(db_default="", blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "chat_turns"
        constraints = [
            models.CheckConstraint(
                name="chat_turns_one_conversation",
                condition=Q(thread__isnull=False, copilot_chat__isnull=True)
                | Q(thread__isnull=True, copilot_chat__isnull=False),
            ),
            models.CheckConstraint(name="chat_turns_status_valid", condition=Q(status__in=TurnStatus.values)),
            models.CheckConstraint(name="chat_turns_trigger_valid", condition=Q(trigger__in=Trigger.values)),
            models.UniqueConstraint(fields=["thread", "turn_id"], name="chat_turns_thread_turn_id_key"),
            models.UniqueConstraint(fields=["copilot_chat", "turn_id"], name="chat_turns_copilot_chat_turn_id_key"),
            # At most one busy turn a conversation: two tabs, two processes, one winner.
            models.UniqueConstraint(fields=["thread"], condition=Q(status__in=BUSY), name="chat_turns_busy_thread_key"),
            models.UniqueConstraint(
                fields=["copilot_chat"], condition=Q(status__in=BUSY), name="chat_turns_busy_copilot_chat_key"
            ),
        ]
        indexes = [
            # What the sweeper looks for: leases that ran out.
            models.Index(
                fields=["heartbeat_at"],
                name="chat_turns_heartbeat_idx",
                condition=Q(status=TurnStatus.STREAMING),
            ),
            # The newest turns of a thread, for those who watch it.
            models.Index(fields=["thread", "id"], name="chat_turns_thread_idx"),
            # A copilot chat's stream is asked for by its name alone.
            models.Index(fields=["turn_id"], name="chat_turns_stream_idx", condition=Q(copilot_chat__isnull=False)),
            # And for threads whose next turn nobody has begun.
            models.Index(fields=["thread", "id"], name="chat_turns_queued_idx", condition=Q(status=TurnStatus.QUEUED)),
        ]

    def __str__(self) -> str:
        return f"Turn {self.pk} ({self.status})"
