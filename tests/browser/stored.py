"""What is stored of the open thread: read through the API, and changed behind its back."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from chat.testing.servers import Server
from chatproject import embedded_postgres
from tests.browser.screen import Screen


async def history(screen: Screen) -> list[dict[str, Any]]:
    thread = screen.page.url.rstrip("/").rpartition("/")[2]
    found: list[dict[str, Any]] = (await screen.call("GET", f"/api/threads/{thread}/messages/"))["results"]
    return found


def rewrite(server: Server, message: str, text: str, *parts: dict[str, Any]) -> None:
    """As if the model had written this."""
    written = [{"type": "step-start"}, {"type": "text", "text": text, "state": "done"}, *parts]
    with psycopg.connect(embedded_postgres.dsn(server.folder / "data" / "postgres"), autocommit=True) as connection:
        connection.execute("UPDATE chat_messages SET parts = %s::jsonb WHERE id = %s", [json.dumps(written), message])
