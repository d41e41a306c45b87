from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now


class Thread(models.Model):
    """A conversation whose history is rows of ``chat_messages``."""

    id = models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    # The id that the client chose (an AI SDK client makes 16 random characters, not a UUID).
    client_id = models.CharField(max_length=128, null=True, blank=True)
    title = models.CharField(max_length=200, blank=True, db_default="")
    metadata = models.JSONField(db_default={}, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    # The last activity: lists are ordered by it.
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "chat_threads"
        constraints = [
            models.UniqueConstraint(fields=["owner", "client_id"], name="chat_threads_owner_client_id_key"),
        ]
        indexes = [
            models.Index(
                "owner",
                models.F("updated_at").desc(),
                "id",
                name="chat_threads_owner_recent_idx",
                condition=models.Q(deleted_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return self.title or f"Thread {self.pk}"
