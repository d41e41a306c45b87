from django.db import migrations, models

from chat.migrations._operations import BuildIndexConcurrently


class Migration(migrations.Migration):
    """Indexes for turns that wait for another one, and for a thread's newest turns."""

    atomic = False
    dependencies = [("chat", "0005_stream_log")]

    operations = [
        BuildIndexConcurrently(
            "chat_turns_queued_idx",
            "INDEX chat_turns_queued_idx ON chat_turns (thread_id, id) WHERE status = 'queued'",
            state_operations=[
                migrations.AddIndex(
                    "turn",
                    models.Index(
                        fields=["thread", "id"], name="chat_turns_queued_idx", condition=models.Q(status="queued")
                    ),
                )
            ],
        ),
        BuildIndexConcurrently(
            "chat_turns_thread_idx",
            "INDEX chat_turns_thread_idx ON chat_turns (thread_id, id)",
            state_operations=[
                migrations.AddIndex("turn", models.Index(fields=["thread", "id"], name="chat_turns_thread_idx"))
            ],
        ),
    ]
