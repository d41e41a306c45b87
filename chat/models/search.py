from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models

from chat.models.message import Message
from chat.models.thread import Thread


class SearchEntry(models.Model):
    """What a search looks through: the text of a message, or a thread's title, as PostgreSQL's full text vector.

    Triggers write it (migration 0017). A table of its own: adding a generated column would rewrite ``chat_messages``
    under a lock that stops every send, and each later change of a message would carry the vector along.
    """

    id = models.BigAutoField(primary_key=True)
    thread = models.ForeignKey(
        Thread, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    # Null for the thread's title.
    message = models.ForeignKey(
        Message, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    vector = SearchVectorField()

    class Meta:
        db_table = "chat_search"
        verbose_name_plural = "search entries"
        constraints = [
            models.UniqueConstraint(
                fields=["thread", "message"], nulls_distinct=False, name="chat_search_thread_message_key"
            )
        ]
        indexes = [
            GinIndex(fields=["vector"], name="chat_search_vector_idx"),
            models.Index(fields=["message"], name="chat_search_message_idx"),
        ]

    def __str__(self) -> str:
        return f"Text of message {self.message_id}" if self.message_id else f"Title of thread {self.thread_id}"
