from django.db import migrations, models

# What a ``timestamp`` means, or null: ISO 8601, as UTC where it names no zone, in the years that Python can read.
# PostgreSQL 15 cannot ask whether a text is a time; a cast that fails would end the whole statement.
TIME = r"""
CREATE OR REPLACE FUNCTION copilot_time(given text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    found timestamptz;
BEGIN
    IF given !~* '^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.]\d{1,9})?)?)?( ?(Z|[+-]\d\d(:?\d\d)?))?$'
       OR given LIKE '0000%' THEN
        RETURN NULL;
    END IF;
    IF given ~ '^.{10}$' THEN
        RETURN (given || 'T00:00Z')::timestamptz;
    END IF;
    found := CASE WHEN given ~* '(Z|[+-]\d\d(:?\d\d)?)$' THEN given ELSE given || 'Z' END;
    -- Its zone may carry it into the year 10000, or into the one before the first.
    RETURN CASE WHEN found >= '0001-01-01T00:00Z' AND found < '10000-01-01T00:00Z' THEN found END;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$
"""

# The elements of a chat's array as the mirror takes them, in order, ``idx`` from 0. ``message_id`` is null where the
# element can be no row (it is no object); an id that is missing, empty or too long for an index is made out of the
# content, so that it is the same in every run. ``problem`` says what is wrong with an element, in the order looked for.
# Elements that repeat an earlier id are in the answer: the first one counts.
#
# Read for every element of every chat, so each thing is worked out once: ``OFFSET 0`` keeps the planner from writing an
# inner expression out wherever it is used, and ``#> '{}'`` unpacks an array that is stored compressed once and not
# twice. A time as JavaScript writes it is told by its shape, at a fifth of the cost of asking ``copilot_time``: numbers
# and separators in turn, in the places of the first ``LIKE``, each number in its range (days to 28: those of every
# month). ``LIKE`` costs a twentieth of what cutting a number out costs.
ELEMENTS = r"""
CREATE OR REPLACE FUNCTION copilot_elements(messages jsonb, fallback timestamptz)
RETURNS TABLE (idx int, message_id text, role text, content jsonb, created_at timestamptz, problem text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 AS $$
    SELECT t.idx,
           CASE WHEN NOT t.is_object THEN NULL WHEN t.has_id THEN t.id ELSE 'made-' || md5(t.value::text) END,
           CASE WHEN t.has_role THEN t.role ELSE 'unknown' END,
           t.value,
           coalesce(t.said_at, fallback),
           CASE WHEN NOT t.is_object THEN 'no_object'
                WHEN NOT t.has_id THEN 'no_id'
                WHEN NOT t.has_role THEN 'no_role'
                WHEN t.said_at IS NULL THEN 'no_time' END
      FROM (SELECT e.idx, e.value, e.id, e.role, jsonb_typeof(e.value) = 'object' AS is_object,
                   coalesce(jsonb_typeof(e.value -> 'id') IN ('string', 'number')
                            AND octet_length(e.id) BETWEEN 1 AND 1000, false) AS has_id,
                   coalesce(jsonb_typeof(e.value -> 'role') = 'string'
                            AND octet_length(e.role) BETWEEN 1 AND 64, false) AS has_role,
                   CASE WHEN e.stamp LIKE '____-__-__T__:__:__.___Z' AND e.stamp ~ '^(?:[0-9][0-9]+[-T:.Z])+$'
                             AND e.stamp LIKE ANY ('{_____0%,_____10%,_____11%,_____12%}')
                             AND e.stamp LIKE ANY ('{________0%,________1%,________2%}')
                             AND e.stamp LIKE ANY ('{___________0%,___________1%,___________20%,___________21%,
                                                     ___________22%,___________23%}')
                             AND e.stamp NOT LIKE ALL ('{0%,_____00%,________00%,________29%,
                                 ______________6%,______________7%,______________8%,______________9%,
                                 _________________6%,_________________7%,_________________8%,_________________9%}')
                        THEN e.stamp::timestamptz ELSE copilot_time(e.stamp) END AS said_at
              FROM (SELECT (a.place - 1)::int AS idx, a.value, a.value ->> 'id' AS id, a.value ->> 'role' AS role,
                           a.value ->> 'timestamp' AS stamp
                      FROM (SELECT messages #> '{}' AS array_or_not OFFSET 0) AS m
                     CROSS JOIN LATERAL jsonb_array_elements(
                           CASE WHEN jsonb_typeof(m.array_or_not) = 'array' THEN m.array_or_not ELSE '[]' END)
                           WITH ORDINALITY AS a (value, place)
                    OFFSET 0) AS e
            OFFSET 0) AS t
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
