import django.db.models.deletion
from django.db import migrations, models

from chat.migrations._operations import AddForeignKey


class Migration(migrations.Migration):
    """The durable log of every turn's chunks."""

    dependencies = [("chat", "0004_one_usage_row_a_message")]

    operations = [
        migrations.CreateModel(
            name="StreamEvents",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "turn_id", "first_seq", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("first_seq", models.IntegerField()),
                ("last_seq", models.IntegerField()),
                ("chunks", models.TextField()),
                (
                    "turn",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="chat.turn",
                    ),
                ),
            ],
            options={"db_table": "chat_stream_events"},
        ),
        AddForeignKey("chat_stream_events", "turn_id", "chat_turns", "CASCADE"),
    ]
