from django.db import migrations, models

from chat.migrations._copilot_elements import ELEMENTS, TIME

# An older program beside us knows nothing of versions; whoever raises the version itself is left alone.
VERSION = """
CREATE OR REPLACE FUNCTION copilot_chats_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.messages_version := OLD.messages_version + 1;
    IF NEW.updated_at = OLD.updated_at THEN
        NEW.updated_at := clock_timestamp();  -- what ``--since`` goes by
    END IF;
    RETURN NEW;
END $$
"""
TRIGGER = """
CREATE OR REPLACE TRIGGER copilot_chats_version BEFORE UPDATE OF messages ON copilot_chats
FOR EACH ROW WHEN (NEW.messages_version = OLD.messages_version) EXECUTE FUNCTION copilot_chats_changed()
"""


class Migration(migrations.Migration):
    """What reading an array as rows takes, and what keeps an older program's writes from being overlooked."""

    dependencies = [("chat", "0006_turns_of_a_thread")]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '3s'", migrations.RunSQL.noop),
        migrations.AddField("copilotchat", "mirror_failures", models.IntegerField(db_default=0)),
        migrations.AddField("copilotchat", "array_behind", models.BooleanField(db_default=False)),
        migrations.RunSQL(TIME, "DROP FUNCTION IF EXISTS copilot_time(text)"),
        migrations.RunSQL(ELEMENTS, "DROP FUNCTION IF EXISTS copilot_elements(jsonb, timestamptz)"),
        migrations.RunSQL(VERSION, "DROP FUNCTION IF EXISTS copilot_chats_changed()"),
        migrations.RunSQL(TRIGGER, "DROP TRIGGER IF EXISTS copilot_chats_version ON copilot_chats"),
    ]
