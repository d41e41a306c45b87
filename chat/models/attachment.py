from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from chat.models.thread import Thread


class Attachment(models.Model):
    """A file that somebody uploaded: its bytes lie in Django's storage under ``key``.

    It belongs to the thread in which a message of its owner first names it: a trigger says so (migration 0019). Until
    then it is its owner's alone. ``deleted_at``: nobody's any more; the bytes go, then the row.
    """

    id = models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    thread = models.ForeignKey(
        Thread, null=True, blank=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    key = models.CharField(max_length=200, unique=True)
    filename = models.CharField(max_length=255)
    media_type = models.CharField(max_length=100)  # as its bytes say, not as its sender did
    size = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "chat_attachments"
        indexes = [
            models.Index(fields=["id"], name="chat_attachments_deleted_idx", condition=Q(deleted_at__isnull=False))
        ]

    def __str__(self) -> str:
        return self.filename
