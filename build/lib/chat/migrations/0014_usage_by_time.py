from django.contrib.postgres.indexes import BrinIndex
from django.db import migrations, models

from chat.migrations._operations import BuildIndexConcurrently


class Migration(migrations.Migration):
    """Indexes for totals of usage: of one user, and of all in a time."""

    atomic = False
    dependencies = [("chat", "0013_one_current_child")]

    operations = [
        BuildIndexConcurrently(
            "token_usage_user_created_idx",
            "INDEX token_usage_user_created_idx ON token_usage (user_id, created_at)",
            state_operations=[
                migrations.AddIndex(
                    "tokenusage", models.Index(fields=["user", "created_at"], name="token_usage_user_created_idx")
                )
            ],
        ),
        BuildIndexConcurrently(
            "token_usage_created_idx",
            "INDEX token_usage_created_idx ON token_usage USING brin (created_at) WITH (autosummarize = on)",
            state_operations=[
                migrations.AddIndex(
                    "tokenusage",
                    BrinIndex(fields=["created_at"], autosummarize=True, name="token_usage_created_idx"),
                )
            ],
        ),
    ]
