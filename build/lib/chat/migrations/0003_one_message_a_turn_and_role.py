from django.db import migrations, models

from chat.migrations._operations import BuildIndexConcurrently


class Migration(migrations.Migration):
    """One user row and one assistant row a turn: the promise that makes retries and races harmless."""

    atomic = False  # concurrently

    dependencies = [("chat", "0002_database_foreign_keys")]

    operations = [
        BuildIndexConcurrently(
            name="chat_messages_thread_turn_role_key",
            definition=(
                "UNIQUE INDEX chat_messages_thread_turn_role_key"
                " ON chat_messages (thread_id, turn_id, role) WHERE turn_id IS NOT NULL"
            ),
            state_operations=[
                migrations.AddConstraint(
                    model_name="message",
                    constraint=models.UniqueConstraint(
                        fields=("thread", "turn_id", "role"),
                        condition=models.Q(("turn_id__isnull", False)),
                        name="chat_messages_thread_turn_role_key",
                    ),
                )
            ],
        ),
    ]
