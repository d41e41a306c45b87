import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
from django.db import migrations, models

from chat.migrations._operations import AddForeignKey

# "simple" knows every language equally well: words as they are, in lower case; a search looks for beginnings of words.
# A text of 100,000 letters makes a vector of well under PostgreSQL's megabyte, whatever its words are; where it does
# not, the message is stored all the same and not found.
FUNCTIONS = """
CREATE OR REPLACE FUNCTION chat_search_text(parts jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT left(string_agg(p ->> 'text', E'\\n' ORDER BY place), 100000)
      FROM jsonb_array_elements(CASE jsonb_typeof(parts) WHEN 'array' THEN parts ELSE '[]' END)
           WITH ORDINALITY AS part (p, place)
     WHERE p ->> 'type' = 'text'
$$;

CREATE OR REPLACE FUNCTION chat_search_vector(said text, weight "char") RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN setweight(to_tsvector('pg_catalog.simple', said), weight);
EXCEPTION WHEN program_limit_exceeded THEN
    RETURN ''::tsvector;
END $$;

CREATE OR REPLACE FUNCTION chat_search_message() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    said text := chat_search_text(NEW.parts);
BEGIN
    IF said <> '' THEN
        INSERT INTO chat_search (thread_id, message_id, vector)
        VALUES (NEW.thread_id, NEW.id, chat_search_vector(said, 'B'))
        ON CONFLICT (thread_id, message_id) DO UPDATE SET vector = EXCLUDED.vector;
    ELSIF TG_OP = 'UPDATE' THEN
        DELETE FROM chat_search WHERE thread_id = NEW.thread_id AND message_id = NEW.id;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION chat_search_title() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chat_search (thread_id, message_id, vector)
    VALUES (NEW.id, NULL, chat_search_vector(NEW.title, 'A'))
    ON CONFLICT (thread_id, message_id) DO UPDATE SET vector = EXCLUDED.vector;
    RETURN NULL;
END $$;

-- Takes in the next rows behind one, and returns the last of them: NULL behind the last of all. They are locked as they
-- are read, so that no text which a trigger has replaced meanwhile is put beside the new one.
CREATE OR REPLACE FUNCTION chat_search_fill(after bigint, most integer) RETURNS bigint LANGUAGE sql AS $$
    WITH batch AS MATERIALIZED (
        SELECT id, thread_id, parts FROM chat_messages WHERE id > after ORDER BY id LIMIT most FOR SHARE
    ), added AS (
        INSERT INTO chat_search (thread_id, message_id, vector)
        SELECT thread_id, id, chat_search_vector(said, 'B')
          FROM batch CROSS JOIN LATERAL chat_search_text(parts) said WHERE said <> '' ORDER BY id
        ON CONFLICT (thread_id, message_id) DO NOTHING
    )
    SELECT max(id) FROM batch
$$;

CREATE OR REPLACE FUNCTION chat_search_fill_titles(after uuid, most integer) RETURNS uuid LANGUAGE sql AS $$
    WITH batch AS MATERIALIZED (
        SELECT id, title FROM chat_threads WHERE id > after ORDER BY id LIMIT most FOR SHARE
    ), added AS (
        INSERT INTO chat_search (thread_id, message_id, vector)
        SELECT id, NULL, chat_search_vector(title, 'A') FROM batch WHERE title <> ''
        ON CONFLICT (thread_id, message_id) DO NOTHING
    )
    SELECT id FROM batch ORDER BY id DESC LIMIT 1
$$;
"""
# Each takes a lock that waits for running writes and lets no new ones pass: with a bound (lock_timeout above it).
# CREATE OR REPLACE, so that a migration that was killed may be run again.
TRIGGERS = """
CREATE OR REPLACE TRIGGER chat_messages_search_insert AFTER INSERT ON chat_messages
    FOR EACH ROW EXECUTE FUNCTION chat_search_message();

CREATE OR REPLACE TRIGGER chat_messages_search_update AFTER UPDATE OF parts ON chat_messages
    FOR EACH ROW WHEN (OLD.parts IS DISTINCT FROM NEW.parts) EXECUTE FUNCTION chat_search_message();

CREATE OR REPLACE TRIGGER chat_threads_search_insert AFTER INSERT ON chat_threads
    FOR EACH ROW WHEN (NEW.title <> '') EXECUTE FUNCTION chat_search_title();

CREATE OR REPLACE TRIGGER chat_threads_search_update AFTER UPDATE OF title ON chat_threads
    FOR EACH ROW WHEN (OLD.title <> NEW.title) EXECUTE FUNCTION chat_search_title();
"""
DROP = """
DROP TRIGGER IF EXISTS chat_messages_search_insert ON chat_messages;

DROP TRIGGER IF EXISTS chat_messages_search_update ON chat_messages;

DROP TRIGGER IF EXISTS chat_threads_search_insert ON chat_threads;

DROP TRIGGER IF EXISTS chat_threads_search_update ON chat_threads;

DROP FUNCTION IF EXISTS chat_search_message();

DROP FUNCTION IF EXISTS chat_search_title();

DROP FUNCTION IF EXISTS chat_search_fill(bigint, integer);

DROP FUNCTION IF EXISTS chat_search_fill_titles(uuid, integer);

DROP FUNCTION IF EXISTS chat_search_vector(text, "char");

DROP FUNCTION IF EXISTS chat_search_text(jsonb);
"""


def statements(text: str) -> tuple[str, ...]:
    """What stands between blank lines, one by one: a prepared statement holds no two."""
    return tuple(text.strip().split("\n\n"))


class Migration(migrations.Migration):
    """The search's table, and the triggers that keep it. What was said before them is taken in by 0018."""

    dependencies = [("chat", "0016_tool_approvals")]

    operations = [
        migrations.CreateModel(
            name="SearchEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("vector", django.contrib.postgres.search.SearchVectorField()),
                (
                    "thread",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="chat.thread",
                    ),
                ),
                (
                    "message",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="chat.message",
                    ),
                ),
            ],
            options={
                "db_table": "chat_search",
                "verbose_name_plural": "search entries",
                "constraints": [
                    models.UniqueConstraint(
                        fields=["thread", "message"], nulls_distinct=False, name="chat_search_thread_message_key"
                    )
                ],
                "indexes": [
                    django.contrib.postgres.indexes.GinIndex(fields=["vector"], name="chat_search_vector_idx"),
                    models.Index(fields=["message"], name="chat_search_message_idx"),
                ],
            },
        ),
        AddForeignKey("chat_search", "thread_id", "chat_threads", "CASCADE"),
        AddForeignKey("chat_search", "message_id", "chat_messages", "CASCADE"),
        migrations.RunSQL(statements(FUNCTIONS), statements(DROP)),
        migrations.RunSQL("SET LOCAL lock_timeout = '3s'", migrations.RunSQL.noop),
        migrations.RunSQL(statements(TRIGGERS), migrations.RunSQL.noop),
    ]
