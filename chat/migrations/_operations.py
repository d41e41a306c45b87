"""Migration operations that may be run again after being killed half-way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import CursorWrapper
from django.db.migrations.state import ProjectState

from chat import conf

LOCK_TIMEOUT = "3s"


@contextmanager
def lock_timeout(schema_editor: BaseDatabaseSchemaEditor) -> Iterator[CursorWrapper]:
    """A cursor that waits ``LOCK_TIMEOUT`` for a lock at most: a long transaction elsewhere fails the migration
    instead of making the whole site wait behind it. Run it again then.
    """
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        try:
            yield cursor
        finally:
            cursor.execute("RESET lock_timeout")


class BuildIndexConcurrently(migrations.RunSQL):
    """``CREATE [UNIQUE] INDEX CONCURRENTLY`` that finishes what an earlier, killed attempt began.

    A failed concurrent build leaves an INVALID index behind, which ``IF NOT EXISTS`` would keep for ever:
    it is dropped first.

    ``definition`` is the statement without its beginning, e.g. ``"UNIQUE INDEX name ON table (...)"``.
    ``state_operations`` tell Django's state what was built. The migration must have ``atomic = False``.
    """

    def __init__(self, name: str, definition: str, state_operations: list[Any]) -> None:
        self.name = name
        self.definition = definition
        unique, _, rest = definition.partition("INDEX ")
        super().__init__(
            sql=f"CREATE {unique}INDEX CONCURRENTLY IF NOT EXISTS {rest}",
            reverse_sql=f"DROP INDEX CONCURRENTLY IF EXISTS {name}",
            state_operations=state_operations,
        )

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return (
            type(self).__name__,
            [],
            {"name": self.name, "definition": self.definition, "state_operations": self.state_operations},
        )

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        with lock_timeout(schema_editor) as cursor:
            cursor.execute("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid", [self.name])
            if cursor.fetchone():
                cursor.execute(f"DROP INDEX CONCURRENTLY {self.name}")
            super().database_forwards(app_label, schema_editor, from_state, to_state)


class AddForeignKey(migrations.RunSQL):
    """A foreign key whose ``ON DELETE`` the database itself carries out (Django 5.2 knows none).

    For tables that are new in the same release. May be run again: a constraint of that name is replaced.
    """

    def __init__(self, table: str, column: str, target: str, on_delete: str) -> None:
        self.table, self.column, self.target, self.on_delete = table, column, target, on_delete
        drop = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_{column}_fkey"
        super().__init__(
            sql=[
                drop,
                f"ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_fkey"
                f" FOREIGN KEY ({column}) REFERENCES {target} (id) ON DELETE {on_delete}",
            ],
            reverse_sql=drop,
        )

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return (type(self).__name__, [self.table, self.column, self.target, self.on_delete], {})


class Backfill(migrations.RunSQL):
    """What fills a table from older ones, unless CHAT_BACKFILL_IN_MIGRATION leaves it to a command."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        if conf.get("BACKFILL_IN_MIGRATION"):
            super().database_forwards(app_label, schema_editor, from_state, to_state)
