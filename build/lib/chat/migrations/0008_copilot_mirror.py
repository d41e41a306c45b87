import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

from chat.migrations._operations import AddForeignKey


class Migration(migrations.Migration):
    """The mirror of the JSONB arrays, and a record of each reconcile."""

    dependencies = [("chat", "0007_copilot_history")]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '3s'", migrations.RunSQL.noop),
        migrations.CreateModel(
            name="CopilotMessage",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=django.contrib.postgres.functions.RandomUUID(),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "chat",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="mirror",
                        to="chat.copilotchat",
                    ),
                ),
                ("message_id", models.TextField()),
                ("seq", models.IntegerField()),
                ("role", models.TextField()),
                ("content", models.JSONField()),
                ("model", models.TextField(blank=True, null=True)),
                ("stream_id", models.TextField(blank=True, null=True)),
                ("tokens_in", models.IntegerField(blank=True, null=True)),
                ("tokens_out", models.IntegerField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"db_table": "copilot_chat_messages", "verbose_name": "copilot message"},
        ),
        migrations.AddConstraint(
            "copilotmessage",
            models.UniqueConstraint(fields=["chat", "message_id"], name="copilot_chat_messages_chat_message_key"),
        ),
        AddForeignKey("copilot_chat_messages", "chat_id", "copilot_chats", "CASCADE"),
        migrations.CreateModel(
            name="ReconcileRun",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("insert", "Insert"),
                            ("check", "Check"),
                            ("repair", "Repair"),
                            ("from_mirror", "From Mirror"),
                        ],
                        max_length=16,
                    ),
                ),
                ("scope", models.TextField()),
                ("phase", models.CharField(max_length=16)),
                ("chats", models.IntegerField(db_default=0)),
                ("messages", models.BigIntegerField(db_default=0)),
                ("found", models.JSONField(db_default={})),
                ("mended", models.JSONField(db_default={})),
                ("examples", models.JSONField(db_default=[])),
                ("is_clean", models.BooleanField(null=True)),
                (
                    "started_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"db_table": "copilot_reconcile_runs"},
        ),
    ]
