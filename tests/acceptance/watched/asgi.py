"""The demo project's application, which answers ``/watched`` and ``/watched?memory`` with what its process holds."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import threading
from pathlib import Path
from typing import Any

import orjson

from chatproject.asgi import application as product

LIBC = ctypes.CDLL(None)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http" or scope["path"] != "/watched":
        await product(scope, receive, send)
        return
    body = orjson.dumps(resident() if scope["query_string"] == b"memory" else held())
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def held() -> dict[str, int]:
    """Tasks, threads, readers, and streams in memory. Costs next to nothing."""
    from chat.streams import hub  # its models need the registry of the application above

    return {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "readers": sum(stream.readers for stream in hub._streams.values()),
        "streams": len(hub._streams),
    }


def resident() -> int:
    """Bytes of memory, without what is only waiting to be given back. Stops everything else for a while."""
    gc.collect()
    if hasattr(LIBC, "malloc_trim"):
        LIBC.malloc_trim(0)
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024
