"""Whether the database is there and as new as the code."""

from __future__ import annotations

from django.db.migrations.executor import MigrationExecutor

from chat.store.sql import UNAVAILABLE, connection


def unready() -> str | None:
    """Why requests cannot be served, in words that tell no secret; None when they can."""
    try:
        executor = MigrationExecutor(connection())
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except UNAVAILABLE:
        return "the database does not answer"
    return f"{len(missing)} migrations are not applied" if missing else None
