from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from chat.models.message import Message


class Rating(models.TextChoices):
    UP = "up"
    DOWN = "down"


class Feedback(models.Model):
    """What somebody thinks of an answer: one row a person and message."""

    id = models.BigAutoField(primary_key=True)
    message = models.ForeignKey(
        Message, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    rating = models.CharField(max_length=8, choices=Rating.choices)
    comment = models.CharField(max_length=4000, db_default="", blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "chat_feedback"
        verbose_name_plural = "feedback"
        constraints = [
            models.CheckConstraint(name="chat_feedback_rating_valid", condition=Q(rating__in=Rating.values)),
            models.UniqueConstraint(fields=["message", "user"], name="chat_feedback_message_user_key"),
        ]

    def __str__(self) -> str:
        return f"{self.rating} for message {self.message_id}"
