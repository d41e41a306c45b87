import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

from chat.migrations._operations import AddForeignKey

# A message's file parts name attachments of its author by their address, under whatever prefix.
ATTACH = (
    """
CREATE OR REPLACE FUNCTION chat_attach_files() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE chat_attachments SET thread_id = NEW.thread_id
     WHERE thread_id IS NULL AND owner_id = NEW.author_id AND deleted_at IS NULL AND id IN (
           SELECT substring(part ->> 'url' FROM 'attachments/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/?$')::uuid
             FROM jsonb_array_elements(NEW.parts) part WHERE part ->> 'type' = 'file');
    RETURN NULL;
END $$
""",
    """
CREATE OR REPLACE TRIGGER chat_messages_attach AFTER INSERT OR UPDATE OF parts ON chat_messages
    FOR EACH ROW WHEN (NEW.author_id IS NOT NULL AND NEW.parts::text LIKE '%/attachments/%')
    EXECUTE FUNCTION chat_attach_files()
""",
)
DETACH = ("DROP TRIGGER chat_messages_attach ON chat_messages", "DROP FUNCTION chat_attach_files()")


class Migration(migrations.Migration):
    """Links that show a thread, what people think of answers, and uploaded files."""

    dependencies = [
        ("chat", "0018_search_backfill"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Share",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("snapshot", models.JSONField()),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "thread",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="chat.thread",
                    ),
                ),
            ],
            options={
                "db_table": "chat_shares",
            },
        ),
        migrations.CreateModel(
            name="Attachment",
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
                ("key", models.CharField(max_length=200, unique=True)),
                ("filename", models.CharField(max_length=255)),
                ("media_type", models.CharField(max_length=100)),
                ("size", models.BigIntegerField()),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "thread",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="chat.thread",
                    ),
                ),
            ],
            options={
                "db_table": "chat_attachments",
                "indexes": [
                    models.Index(
                        condition=models.Q(("deleted_at__isnull", False)),
                        fields=["id"],
                        name="chat_attachments_deleted_idx",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Feedback",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("rating", models.CharField(choices=[("up", "Up"), ("down", "Down")], max_length=8)),
                ("comment", models.CharField(blank=True, db_default="", max_length=4000)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "message",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="chat.message",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "feedback",
                "db_table": "chat_feedback",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("rating__in", ["up", "down"])), name="chat_feedback_rating_valid"
                    ),
                    models.UniqueConstraint(fields=("message", "user"), name="chat_feedback_message_user_key"),
                ],
            },
        ),
        AddForeignKey("chat_shares", "thread_id", "chat_threads", "CASCADE"),
        AddForeignKey("chat_feedback", "message_id", "chat_messages", "CASCADE"),
        AddForeignKey("chat_attachments", "thread_id", "chat_threads", "SET NULL"),
        migrations.RunSQL("SET LOCAL lock_timeout = '3s'", migrations.RunSQL.noop),
        migrations.RunSQL(ATTACH, DETACH),
    ]
