from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q


class QuotaCounter(models.Model):
    """What a user has used of their quotas; a row is made by their first turn under one. See ``chat.store.quotas``."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="+")
    live = ArrayField(models.BigIntegerField(), default=list)  # the turns that hold a place
    began = ArrayField(models.DateTimeField(), default=list)  # when the turns of the last minute began
    day = models.DateField()  # in UTC; whose tokens these are
    tokens = models.BigIntegerField()
    # The limit that a turn would go over. Nobody ever reads one: the constraint undoes the statement that writes it,
    # and with it the turn and its messages.
    refused = models.CharField(max_length=20, default="")

    class Meta:
        db_table = "chat_quotas"
        constraints = [models.CheckConstraint(name="chat_quotas_admitted", condition=Q(refused=""))]

    def __str__(self) -> str:
        return f"{len(self.live)} live turns, {self.tokens} tokens"
