from django.db import migrations

from chat.migrations._operations import Backfill

# Twenty chats a transaction, under their rows' locks for as long as that: nobody can change an array between the read
# and the write, and a migration that is killed has lost twenty chats. Run again it only adds what is missing. The first
# of two elements with one id wins.
#
# A chat without a row can have an id twice only if its array has: to look for that is cheaper than ON CONFLICT, which
# asks the index once more for every row. Nobody has counted the rows of a table that is being filled: the planner must
# not read all of it.
BACKFILL = """
DO $$
DECLARE
    last uuid := '00000000-0000-0000-0000-000000000000';
    batch uuid[];
    filled uuid[];
BEGIN
    LOOP
        PERFORM set_config('lock_timeout', '5s', true), set_config('enable_seqscan', 'off', true),
                set_config('work_mem', '32MB', true);
        batch := ARRAY(SELECT id FROM copilot_chats WHERE id > last ORDER BY id LIMIT 20);
        EXIT WHEN cardinality(batch) = 0;
        PERFORM FROM copilot_chats WHERE id = ANY (batch) ORDER BY id FOR NO KEY UPDATE;
        filled := ARRAY(SELECT b.chat FROM unnest(batch) AS b (chat)
                         WHERE (SELECT true FROM copilot_chat_messages m WHERE m.chat_id = b.chat LIMIT 1));
        WITH elements AS MATERIALIZED (
            SELECT c.id AS chat_id, nullif(c.model, '') AS model,
                   e.message_id, e.idx, e.role, e.content, e.created_at
              FROM copilot_chats c CROSS JOIN LATERAL copilot_elements(c.messages, c.created_at) e
             WHERE c.id = ANY (batch) AND c.id <> ALL (filled) AND e.message_id IS NOT NULL
        ), repeated AS MATERIALIZED (
            SELECT chat_id, message_id, min(idx) AS idx FROM elements GROUP BY chat_id, message_id HAVING count(*) > 1
        )
        INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, model, created_at)
        SELECT chat_id, message_id, idx, role, content, model, created_at FROM elements e
         WHERE NOT EXISTS (SELECT FROM repeated r
                            WHERE r.chat_id = e.chat_id AND r.message_id = e.message_id AND r.idx < e.idx);
        IF cardinality(filled) > 0 THEN
            INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, model, created_at)
            SELECT c.id, e.message_id, e.idx, e.role, e.content, nullif(c.model, ''), e.created_at
              FROM copilot_chats c CROSS JOIN LATERAL copilot_elements(c.messages, c.created_at) e
             WHERE c.id = ANY (filled) AND e.message_id IS NOT NULL
            ON CONFLICT (chat_id, message_id) DO NOTHING;
        END IF;
        last := batch[cardinality(batch)];
        COMMIT;
    END LOOP;
END $$
"""


class Migration(migrations.Migration):
    """Every element of every array as a row of the mirror. May be run again; killed, it goes on where it was."""

    atomic = False
    dependencies = [("chat", "0009_copilot_mirror_indexes")]

    # Backwards the rows stay: the table goes with its own migration.
    operations = [Backfill(BACKFILL, migrations.RunSQL.noop)]
