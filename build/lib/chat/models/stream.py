from __future__ import annotations

from django.db import models

from chat.models.turn import Turn


class StreamEvents(models.Model):
    """A piece of a turn's log: the chunks that one commit added, append-only.

    One row a turn and commit, not a row a chunk: a row costs more than the token in it.
    """

    pk = models.CompositePrimaryKey("turn_id", "first_seq")
    turn = models.ForeignKey(Turn, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    first_seq = models.IntegerField()
    last_seq = models.IntegerField()
    chunks = models.TextField()  # one JSON chunk a line

    class Meta:
        db_table = "chat_stream_events"

    def __str__(self) -> str:
        return f"Chunks {self.first_seq} to {self.last_seq} of turn {self.turn_id}"
