from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class TranscriptView(models.Model):
    """A member of the staff has looked at what was said. Nobody changes these, and they outlive what was seen."""

    id = models.BigAutoField(primary_key=True)
    viewer = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    # "thread", "message", "turn", "toolapproval" or "copilotchat", and its primary key; or "search", and in which list.
    kind = models.CharField(max_length=20)
    seen = models.CharField(max_length=40)
    viewed_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "chat_transcript_views"
        indexes = [models.Index(fields=["kind", "seen"], name="chat_transcript_views_seen_idx")]

    def __str__(self) -> str:
        return f"View of {self.kind} {self.seen}"
