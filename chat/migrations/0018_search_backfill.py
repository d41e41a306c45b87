from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

from chat import conf

# A thousand rows a transaction; run again after a kill it only adds what is missing.
BACKFILL = """
DO $$
DECLARE
    thread uuid := '00000000-0000-0000-0000-000000000000';
    message bigint := 0;
BEGIN
    LOOP
        thread := chat_search_fill_titles(thread, 1000);
        EXIT WHEN thread IS NULL;
        COMMIT;
    END LOOP;
    LOOP
        message := chat_search_fill(message, 1000);
        EXIT WHEN message IS NULL;
        COMMIT;
    END LOOP;
END $$
"""


class Backfill(migrations.RunSQL):
    """The backfill, unless CHAT_BACKFILL_IN_MIGRATION leaves it to ``manage.py index_search``."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if conf.get("BACKFILL_IN_MIGRATION"):
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__name__, [], {"sql": self.sql, "reverse_sql": self.reverse_sql}


class Migration(migrations.Migration):
    """What was said before there were triggers."""

    atomic = False
    dependencies = [("chat", "0017_search")]

    operations = [Backfill(BACKFILL, migrations.RunSQL.noop, elidable=True)]
