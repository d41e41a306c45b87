"""A table that takes something no more: what PostgreSQL refuses, and what becomes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asgiref.sync import sync_to_async
from django.db import connection


@asynccontextmanager
async def only_rows(table: str, condition: str) -> AsyncIterator[None]:
    """For the length of the block the table takes no other rows, nor changes to others."""
    await _alter(table, f"ADD CONSTRAINT only_rows CHECK ({condition}) NOT VALID")
    try:
        yield
    finally:
        await _alter(table, "DROP CONSTRAINT only_rows")


@sync_to_async
def _alter(table: str, change: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} {change}")
