from django.db import migrations, models

from chat.migrations._operations import BuildIndexConcurrently


class Migration(migrations.Migration):
    """Streams of copilot chats are asked for by their name alone: without an index, every chat of the user is asked."""

    atomic = False
    dependencies = [("chat", "0010_copilot_backfill")]

    operations = [
        BuildIndexConcurrently(
            "chat_turns_stream_idx",
            "INDEX chat_turns_stream_idx ON chat_turns (turn_id) WHERE copilot_chat_id IS NOT NULL",
            state_operations=[
                migrations.AddIndex(
                    "turn",
                    models.Index(
                        fields=["turn_id"],
                        name="chat_turns_stream_idx",
                        condition=models.Q(copilot_chat__isnull=False),
                    ),
                )
            ],
        ),
    ]
