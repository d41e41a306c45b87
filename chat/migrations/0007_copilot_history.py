from django.db import migrations, models

# What a ``timestamp`` means, or null: ISO 8601, as UTC where it names no zone, in the years that Python can read.
# PostgreSQL 15 cannot ask whether a text is a time; a cast that fails would end the whole statement.
TIME = r"""
CREATE OR REPLACE FUNCTION copilot_time(given text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF given !~* '^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.]\d{1,9})?)?)?( ?(Z|[+-]\d\d(:?\d\d)?))?$'
       OR given LIKE '0000%' THEN
        RETURN NULL;
    END IF;
    IF given ~ '^.{10}$' THEN
        RETURN (given || 'T00:00Z')::timestamptz;
    END IF;
    RETURN CASE WHEN given ~* '(Z|[+-]\d\d(:?\d\d)?)$' THEN given::timestamptz ELSE (given || 'Z')::timestamptz END;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$
"""

# The elements of a chat's array as the mirror takes them, in order, ``idx`` from 0. ``message_id`` is null where the
# element can be no row (it is no object); an id that is missing, empty or too long for an index is made out of the
# content, so that it is the same in every run. ``problem`` says what is wrong with an element, in the order looked for.
# Elements that repeat an earlier id are in the answer: the first one counts.
ELEMENTS = r"""
CREATE OR REPLACE FUNCTION copilot_elements(messages jsonb, fallback timestamptz)
RETURNS TABLE (idx int, message_id text, role text, content jsonb, created_at timestamptz, problem text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 AS $$
    SELECT (e.place - 1)::int,
           CASE WHEN jsonb_typeof(e.value) <> 'object' THEN NULL
                WHEN jsonb_typeof(e.value -> 'id') IN ('string', 'number')
                     AND octet_length(e.value ->> 'id') BETWEEN 1 AND 1000 THEN e.value ->> 'id'
                ELSE 'made-' || md5(e.value::text) END,
           CASE WHEN jsonb_typeof(e.value -> 'role') = 'string' AND octet_length(e.value ->> 'role') BETWEEN 1 AND 64
                THEN e.value ->> 'role' ELSE 'unknown' END,
           e.value,
           coalesce(CASE WHEN e.value ->> 'timestamp' ~ ('^[1-9]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])'
                              || 'T([01]\d|2[0-3]):[0-5]\d:[0-5]\d([.]\d{1,6})?(Z|[+-](0\d|1[0-4]):[0-5]\d)$')
                         THEN (e.value ->> 'timestamp')::timestamptz
                         ELSE copilot_time(e.value ->> 'timestamp') END,
                    fallback),
           CASE WHEN jsonb_typeof(e.value) <> 'object' THEN 'no_object'
                WHEN NOT coalesce(jsonb_typeof(e.value -> 'id') IN ('string', 'number')
                                  AND octet_length(e.value ->> 'id') BETWEEN 1 AND 1000, false) THEN 'no_id'
                WHEN NOT coalesce(jsonb_typeof(e.value -> 'role') = 'string'
                                  AND octet_length(e.value ->> 'role') BETWEEN 1 AND 64, false) THEN 'no_role'
                WHEN copilot_time(e.value ->> 'timestamp') IS NULL THEN 'no_time' END
      FROM jsonb_array_elements(CASE WHEN jsonb_typeof(messages) = 'array' THEN messages ELSE '[]' END)
           WITH ORDINALITY AS e (value, place)
$$
"""

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
