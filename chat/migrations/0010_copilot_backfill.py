from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

from chat import conf

# Twenty chats a transaction, under their rows' locks for as long as that: nobody can change an array between the read
# and the write, and a migration that is killed has lost twenty chats. Run again it only adds what is missing. The first
# of two elements with one id wins, since an array's elements come in order.
BACKFILL = """
DO $$
DECLARE
    last uuid := '00000000-0000-0000-0000-000000000000';
    batch uuid[];
BEGIN
    PERFORM set_config('lock_timeout', '5s', false);
    LOOP
        batch := ARRAY(SELECT id FROM copilot_chats WHERE id > last ORDER BY id LIMIT 20);
        EXIT WHEN cardinality(batch) = 0;
        PERFORM FROM copilot_chats WHERE id = ANY (batch) ORDER BY id FOR NO KEY UPDATE;
        INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, model, created_at)
        SELECT c.id, e.message_id, e.idx, e.role, e.content, nullif(c.model, ''), e.created_at
          FROM copilot_chats c CROSS JOIN LATERAL copilot_elements(c.messages, c.created_at) e
         WHERE c.id = ANY (batch) AND e.message_id IS NOT NULL
        ON CONFLICT (chat_id, message_id) DO NOTHING;
        last := batch[cardinality(batch)];
        COMMIT;
    END LOOP;
    PERFORM set_config('lock_timeout', '0', false);
END $$
"""


class Backfill(migrations.RunSQL):
    """The backfill, unless CHAT_BACKFILL_IN_MIGRATION leaves it to ``manage.py reconcile_messages``."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        if conf.get("BACKFILL_IN_MIGRATION"):
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def deconstruct(self) -> tuple[str, Any, Any]:
        _, args, kwargs = super().deconstruct()
        return type(self).__name__, args, kwargs


class Migration(migrations.Migration):
    """Every element of every array as a row of the mirror. May be run again; killed, it goes on where it was."""

    atomic = False
    dependencies = [("chat", "0009_copilot_mirror_indexes")]

    # Backwards the rows stay: the table goes with its own migration.
    operations = [Backfill(BACKFILL, migrations.RunSQL.noop)]
