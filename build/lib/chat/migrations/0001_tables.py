import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ApiToken",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(blank=True, db_default="", max_length=100)),
                ("digest", models.CharField(max_length=64, unique=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "chat_api_tokens",
            },
        ),
        migrations.CreateModel(
            name="CopilotChat",
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
                ("title", models.TextField(blank=True, db_default="")),
                ("model", models.TextField(blank=True, db_default="")),
                ("messages", models.JSONField(db_default=[])),
                ("messages_version", models.IntegerField(db_default=0)),
                ("active_stream_id", models.TextField(blank=True, null=True)),
                ("config", models.JSONField(db_default={})),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "copilot_chats",
            },
        ),
        migrations.CreateModel(
            name="Thread",
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
                ("client_id", models.CharField(blank=True, max_length=128, null=True)),
                ("title", models.CharField(blank=True, db_default="", max_length=200)),
                ("metadata", models.JSONField(blank=True, db_default={})),
                ("archived_at", models.DateTimeField(blank=True, null=True)),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "chat_threads",
            },
        ),
        migrations.CreateModel(
            name="Message",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("turn_id", models.CharField(blank=True, max_length=128, null=True)),
                (
                    "role",
                    models.CharField(
                        choices=[("user", "User"), ("assistant", "Assistant"), ("system", "System")],
                        max_length=16,
                    ),
                ),
                ("parts", models.JSONField(db_default=[])),
                ("client_id", models.CharField(blank=True, max_length=128, null=True)),
                ("model", models.CharField(blank=True, db_default="", max_length=200)),
                ("metadata", models.JSONField(blank=True, db_default={})),
                ("is_current", models.BooleanField(db_default=True)),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "author",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "thread",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="messages",
                        to="chat.thread",
                    ),
                ),
            ],
            options={
                "db_table": "chat_messages",
            },
        ),
        migrations.CreateModel(
            name="Turn",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("turn_id", models.CharField(max_length=128)),
                ("request", models.JSONField(db_default={})),
                (
                    "trigger",
                    models.CharField(
                        choices=[
                            ("submit", "Submit"),
                            ("regenerate", "Regenerate"),
                            ("edit", "Edit"),
                            ("inbox", "Inbox"),
                        ],
                        db_default="submit",
                        max_length=16,
                    ),
                ),
                ("fingerprint", models.CharField(max_length=64)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("streaming", "Streaming"),
                            ("awaiting_approval", "Awaiting Approval"),
                            ("completed", "Completed"),
                            ("stopped", "Stopped"),
                            ("interrupted", "Interrupted"),
                            ("failed", "Failed"),
                        ],
                        db_default="streaming",
                        max_length=20,
                    ),
                ),
                ("epoch", models.IntegerField(db_default=1)),
                ("owner", models.TextField(blank=True, db_default="")),
                ("heartbeat_at", models.DateTimeField(blank=True, null=True)),
                ("stop_requested_at", models.DateTimeField(blank=True, null=True)),
                ("last_seq", models.IntegerField(db_default=0)),
                ("model", models.CharField(blank=True, db_default="", max_length=200)),
                ("finish_reason", models.CharField(blank=True, db_default="", max_length=32)),
                ("error_code", models.CharField(blank=True, db_default="", max_length=64)),
                ("error_text", models.TextField(blank=True, db_default="")),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "copilot_chat",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="turns",
                        to="chat.copilotchat",
                    ),
                ),
                (
                    "replaces",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="replaced_by",
                        to="chat.turn",
                    ),
                ),
                (
                    "thread",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="turns",
                        to="chat.thread",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "chat_turns",
            },
        ),
        migrations.CreateModel(
            name="TokenUsage",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("prompt_tokens", models.BigIntegerField(db_default=0)),
                ("completion_tokens", models.BigIntegerField(db_default=0)),
                ("total_tokens", models.BigIntegerField(db_default=0)),
                ("cached_tokens", models.BigIntegerField(db_default=0)),
                ("reasoning_tokens", models.BigIntegerField(db_default=0)),
                ("cost_micros", models.BigIntegerField(db_default=0)),
                ("usage_type", models.CharField(db_default="chat", max_length=50)),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("reported", "Reported"),
                            ("estimated", "Estimated"),
                            ("missing", "Missing"),
                        ],
                        max_length=16,
                    ),
                ),
                ("model_breakdown", models.JSONField(db_default={})),
                ("call_details", models.JSONField(db_default={})),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "copilot_chat",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="usage",
                        to="chat.copilotchat",
                    ),
                ),
                (
                    "message",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="usage",
                        to="chat.message",
                    ),
                ),
                (
                    "thread",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="usage",
                        to="chat.thread",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "turn",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="usage",
                        to="chat.turn",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "token usage",
                "db_table": "token_usage",
            },
        ),
        migrations.AddIndex(
            model_name="thread",
            index=models.Index(
                models.F("owner"),
                models.OrderBy(models.F("updated_at"), descending=True),
                models.F("id"),
                condition=models.Q(("deleted_at__isnull", True)),
                name="chat_threads_owner_recent_idx",
            ),
        ),
        migrations.AddConstraint(
            model_name="thread",
            constraint=models.UniqueConstraint(fields=("owner", "client_id"), name="chat_threads_owner_client_id_key"),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("deleted_at__isnull", True), ("is_current", True)),
                fields=["thread", "id"],
                name="chat_messages_current_idx",
            ),
        ),
        migrations.AddConstraint(
            model_name="message",
            constraint=models.CheckConstraint(
                condition=models.Q(("role__in", ["user", "assistant", "system"])),
                name="chat_messages_role_valid",
            ),
        ),
        migrations.AddIndex(
            model_name="turn",
            index=models.Index(
                condition=models.Q(("status", "streaming")),
                fields=["heartbeat_at"],
                name="chat_turns_heartbeat_idx",
            ),
        ),
        migrations.AddConstraint(
            model_name="turn",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("copilot_chat__isnull", True), ("thread__isnull", False)),
                    models.Q(("copilot_chat__isnull", False), ("thread__isnull", True)),
                    _connector="OR",
                ),
                name="chat_turns_one_conversation",
            ),
        ),
        migrations.AddConstraint(
            model_name="turn",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        [
                            "queued",
                            "streaming",
                            "awaiting_approval",
                            "completed",
                            "stopped",
                            "interrupted",
                            "failed",
                        ],
                    )
                ),
                name="chat_turns_status_valid",
            ),
        ),
        migrations.AddConstraint(
            model_name="turn",
            constraint=models.CheckConstraint(
                condition=models.Q(("trigger__in", ["submit", "regenerate", "edit", "inbox"])),
                name="chat_turns_trigger_valid",
            ),
        ),
        migrations.AddConstraint(
            model_name="turn",
            constraint=models.UniqueConstraint(fields=("thread", "turn_id"), name="chat_turns_thread_turn_id_key"),
        ),
        migrations.AddConstraint(
            model_name="turn",
            constraint=models.UniqueConstraint(
                fields=("copilot_chat", "turn_id"), name="chat_turns_copilot_chat_turn_id_key"
            ),
        ),
        migrations.AddConstraint(
            model_name="turn",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status__in", ("streaming", "awaiting_approval"))),
                fields=("thread",),
                name="chat_turns_busy_thread_key",
            ),
        ),
        migrations.AddConstraint(
            model_name="turn",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status__in", ("streaming", "awaiting_approval"))),
                fields=("copilot_chat",),
                name="chat_turns_busy_copilot_chat_key",
            ),
        ),
        migrations.AddConstraint(
            model_name="tokenusage",
            constraint=models.CheckConstraint(
                condition=models.Q(("source__in", ["reported", "estimated", "missing"])),
                name="token_usage_source_valid",
            ),
        ),
        migrations.AddConstraint(
            model_name="tokenusage",
            constraint=models.UniqueConstraint(
                condition=models.Q(("turn__isnull", False)), fields=("turn",), name="token_usage_turn_key"
            ),
        ),
    ]
