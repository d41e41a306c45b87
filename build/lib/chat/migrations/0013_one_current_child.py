from django.db import migrations, models

from chat.migrations._operations import BuildIndexConcurrently

# Until now a thread was a line: each message follows the one before it. A thousand threads a transaction; run again it
# goes on where it was.
PARENTS = """
DO $$
DECLARE
    last uuid := '00000000-0000-0000-0000-000000000000';
    batch uuid[];
BEGIN
    LOOP
        batch := ARRAY(SELECT id FROM chat_threads WHERE id > last ORDER BY id LIMIT 1000);
        EXIT WHEN cardinality(batch) = 0;
        UPDATE chat_messages m SET parent_id = line.before
          FROM (SELECT id, lag(id) OVER (PARTITION BY thread_id ORDER BY id) AS before FROM chat_messages
                 WHERE thread_id = ANY (batch) AND is_current AND deleted_at IS NULL) AS line
         WHERE m.id = line.id AND m.parent_id IS NULL AND line.before IS NOT NULL;
        last := batch[cardinality(batch)];
        COMMIT;
    END LOOP;
END $$
"""


class Migration(migrations.Migration):
    """One current history a thread, held by the database."""

    atomic = False
    dependencies = [("chat", "0012_message_versions")]

    operations = [
        migrations.RunSQL(PARENTS, migrations.RunSQL.noop),
        BuildIndexConcurrently(
            "chat_messages_current_child_key",
            "UNIQUE INDEX chat_messages_current_child_key ON chat_messages (parent_id)"
            " WHERE is_current AND deleted_at IS NULL",
            state_operations=[
                migrations.AddConstraint(
                    "message",
                    models.UniqueConstraint(
                        fields=["parent"],
                        condition=models.Q(is_current=True, deleted_at__isnull=True),
                        name="chat_messages_current_child_key",
                    ),
                )
            ],
        ),
        BuildIndexConcurrently(
            "chat_messages_versions_idx",
            "INDEX chat_messages_versions_idx ON chat_messages (version_of_id) WHERE version_of_id IS NOT NULL",
            state_operations=[
                migrations.AddIndex(
                    "message",
                    models.Index(
                        fields=["version_of"],
                        name="chat_messages_versions_idx",
                        condition=models.Q(version_of__isnull=False),
                    ),
                )
            ],
        ),
        BuildIndexConcurrently(
            "chat_messages_parent_idx",
            "INDEX chat_messages_parent_idx ON chat_messages (parent_id) WHERE NOT is_current",
            state_operations=[
                migrations.AddIndex(
                    "message",
                    models.Index(
                        fields=["parent"], name="chat_messages_parent_idx", condition=models.Q(is_current=False)
                    ),
                )
            ],
        ),
    ]
