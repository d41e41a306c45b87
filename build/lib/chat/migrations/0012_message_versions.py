import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    """What a message follows and what it is a version of."""

    dependencies = [("chat", "0011_streams_of_copilot_chats")]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '3s'", migrations.RunSQL.noop),
        migrations.AddField("message", "current_at", models.DateTimeField(blank=True, db_default=Now(), null=True)),
        *(
            migrations.AddField(
                "message",
                name,
                models.ForeignKey(
                    blank=True,
                    db_constraint=False,
                    db_index=False,
                    null=True,
                    on_delete=django.db.models.deletion.DO_NOTHING,
                    related_name="+",
                    to="chat.message",
                ),
            )
            for name in ("parent", "version_of")
        ),
    ]
