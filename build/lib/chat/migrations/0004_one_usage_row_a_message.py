from __future__ import annotations

import sys

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from chat.migrations._operations import BuildIndexConcurrently, lock_timeout

# Keeps the row that was written first. In batches: a billing table may be big and busy.
DELETE_DUPLICATES = """
DELETE FROM token_usage WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (PARTITION BY message_id ORDER BY id) AS place
          FROM token_usage WHERE message_id IS NOT NULL
    ) numbered
    WHERE place > 1 LIMIT 50000
)
"""


def remove_duplicates(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Delete all but the first usage row of each message, and say how many that were."""
    removed = 0
    with lock_timeout(schema_editor) as cursor:
        while True:
            cursor.execute(DELETE_DUPLICATES)
            if not cursor.rowcount:
                break
            removed += cursor.rowcount
    if removed:
        sys.stdout.write(f"\n    token_usage: removed {removed} duplicate rows, kept the first of each message.")


class Migration(migrations.Migration):
    """One usage row a message. Duplicates of an earlier time are removed first."""

    atomic = False  # concurrently, and in batches

    dependencies = [("chat", "0003_one_message_a_turn_and_role")]

    operations = [
        migrations.RunPython(remove_duplicates, migrations.RunPython.noop),
        BuildIndexConcurrently(
            name="token_usage_message_key",
            definition=(
                "UNIQUE INDEX token_usage_message_key ON token_usage (message_id) WHERE message_id IS NOT NULL"
            ),
            state_operations=[
                migrations.AddConstraint(
                    model_name="tokenusage",
                    constraint=models.UniqueConstraint(
                        fields=("message",),
                        condition=models.Q(("message__isnull", False)),
                        name="token_usage_message_key",
                    ),
                )
            ],
        ),
    ]
