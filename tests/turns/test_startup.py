"""What a server does before its first request, and a worker before its first turn."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from chatproject.asgi import application


@pytest.mark.usefixtures("chat_process")  # it begins no turn: no worker is needed
async def test_what_was_imported_is_not_walked_through_by_collections() -> None:
    gc.unfreeze()
    said_to, says = asyncio.Queue[dict[str, Any]](), asyncio.Queue[dict[str, Any]]()
    process = asyncio.create_task(application({"type": "lifespan"}, said_to.get, says.put))
    await said_to.put({"type": "lifespan.startup"})
    assert (await says.get())["type"] == "lifespan.startup.complete"
    try:
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
        await said_to.put({"type": "lifespan.shutdown"})
        await process


def test_no_worker_starts_where_none_has_anything_to_do(settings: Any) -> None:
    settings.CHAT_RUNNER = "process"
    with pytest.raises(CommandError, match="CHAT_RUNNER is not worker"):
        call_command("run_turns")
    settings.CHAT_RUNNER = "worker"
    with pytest.raises(CommandError, match="1 or more"):
        call_command("run_turns", "--concurrency", "0")
