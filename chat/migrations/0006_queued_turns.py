from django.db import migrations, models

from chat.migrations._operations import BuildIndexConcurrently


class Migration(migrations.Migration):
    """What the sweeper and the state endpoint look for: turns that wait for another one."""

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
        )
    ]
