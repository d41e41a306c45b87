"""``/healthz``: the process answers. ``/readyz``: it can do its work.

Probes come by the machine's address, and when something is wrong. So ``chat.asgi`` answers them in front of Django, of
its check of host names, its redirects and transactions; as views they are for a process that has no ``chat.asgi``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from asgiref.sync import async_to_sync
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse

from chat.api.stream import Receive, Send, send_whole
from chat.store.crossing import in_thread
from chat.store.health import unready
from chat.store.sql import in_transactions_of_its_own

# Seconds for which an answer of the database holds: anybody may ask, and each question reads all migrations.
HOLDS_SECONDS = 1.0

_asked: asyncio.Task[str | None] | None = None
_answered_at = 0.0


def probe(reason: Callable[[], Awaitable[str | None]]) -> Callable[..., HttpResponse]:
    """A view that answers 503 with the reason why not, or 200 where there is None; ``view.asgi`` does the same."""

    async def found() -> tuple[int, bytes]:
        why_not = await reason()
        return 503 if why_not else 200, orjson.dumps({"status": why_not or "ok"})

    @login_not_required  # where the host has LoginRequiredMiddleware
    @in_transactions_of_its_own
    def view(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        status, body = async_to_sync(found)()
        return HttpResponse(body, status=status, content_type="application/json")

    async def application(scope: dict[str, Any], receive: Receive, send: Send, **kwargs: Any) -> None:
        status, body = await found()
        await send_whole(send, status, b"" if scope["method"] == "HEAD" else body, {"Cache-Control": "no-store"})

    view.asgi = application  # type: ignore[attr-defined]
    return view


async def _alive() -> None:
    return None


async def _ready() -> str | None:
    """Why requests cannot be served. One question at a time, and one a second, for however many want to know."""
    global _asked
    loop = asyncio.get_running_loop()
    if (
        _asked is None
        or _asked.get_loop() is not loop
        or (_asked.done() and loop.time() - _answered_at > HOLDS_SECONDS)
    ):
        _asked = loop.create_task(_ask())
    return await asyncio.shield(_asked)


async def _ask() -> str | None:
    global _answered_at
    try:
        return await in_thread(unready)
    finally:
        _answered_at = asyncio.get_running_loop().time()


healthz = probe(_alive)
readyz = probe(_ready)
