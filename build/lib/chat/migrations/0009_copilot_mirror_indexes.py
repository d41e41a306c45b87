from typing import Any

from django.db import migrations, models

from chat.migrations._operations import BuildIndexConcurrently
from chat.models.indexes import LongNamedIndex


def build(model: str, table: str, index: models.Index, columns: str, where: str = "") -> BuildIndexConcurrently:
    state: list[Any] = [migrations.AddIndex(model, index)]
    condition = f" WHERE {where}" if where else ""
    definition = f"INDEX {index.name} ON {table} ({columns}){condition}"
    return BuildIndexConcurrently(index.name, definition, state_operations=state)


MIRROR = ("copilotmessage", "copilot_chat_messages")
CHATS = ("copilotchat", "copilot_chats")


class Migration(migrations.Migration):
    """How transcripts, streams and chats are looked up."""

    atomic = False
    dependencies = [("chat", "0008_copilot_mirror")]

    operations = [
        build(
            *MIRROR,
            LongNamedIndex(
                fields=["chat", "created_at", "id"],
                name="copilot_chat_messages_transcript_idx",
                condition=models.Q(deleted_at__isnull=True),
            ),
            "chat_id, created_at, id",
            "deleted_at IS NULL",
        ),
        build(
            *MIRROR,
            models.Index(
                fields=["chat", "seq"],
                name="copilot_chat_messages_seq_idx",
                condition=models.Q(deleted_at__isnull=True),
            ),
            "chat_id, seq",
            "deleted_at IS NULL",
        ),
        build(
            *MIRROR,
            LongNamedIndex(
                fields=["chat", "stream_id"],
                name="copilot_chat_messages_stream_idx",
                condition=models.Q(stream_id__isnull=False),
            ),
            "chat_id, stream_id",
            "stream_id IS NOT NULL",
        ),
        build(
            *CHATS,
            models.Index(fields=["user", "-updated_at", "id"], name="copilot_chats_activity_idx"),
            "user_id, updated_at DESC, id",
        ),
        build(
            *CHATS,
            models.Index(fields=["id"], name="copilot_chats_failures_idx", condition=models.Q(mirror_failures__gt=0)),
            "id",
            "mirror_failures > 0",
        ),
        build(
            *CHATS,
            models.Index(fields=["id"], name="copilot_chats_behind_idx", condition=models.Q(array_behind=True)),
            "id",
            "array_behind",
        ),
    ]
