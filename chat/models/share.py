from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from chat.models.thread import Thread


class Share(models.Model):
    """A link that shows a thread, as it was when the link was made, to whoever has it. Only its digest is kept."""

    id = models.BigAutoField(primary_key=True)
    thread = models.ForeignKey(Thread, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64, unique=True)  # SHA-256, hexadecimal
    # What is shown: title and messages, without what is not meant for others (chat.protocol.snapshot). Empty once the
    # link shows nothing any more.
    snapshot = models.JSONField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "chat_shares"

    def __str__(self) -> str:
        return f"Link {self.pk} to thread {self.thread_id}"
