from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now


class CopilotChat(models.Model):
    """A conversation whose history is a JSONB array.

    What is ours has database defaults, so that an older program's INSERT goes on working beside us.
    """

    id = models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    title = models.TextField(db_default="", blank=True)
    model = models.TextField(db_default="", blank=True)
    messages = models.JSONField(db_default=[])
    # Raised by every change of the array: what a whole-array save is checked against.
    messages_version = models.IntegerField(db_default=0)
    active_stream_id = models.TextField(null=True, blank=True)
    config = models.JSONField(db_default={})
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "copilot_chats"

    def __str__(self) -> str:
        return self.title or f"Copilot chat {self.pk}"
