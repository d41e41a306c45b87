# mypy: ignore-errors
# (its packages are in the peer's own environment)
"""rakaia-streams in Django: its durable store on PostgreSQL, its protocol application mounted as it is documented.

It knows streams and nothing of chats: what is here besides is what a product would write on top. One stream an answer,
with the question as its first message; an answer is run by whoever creates the stream.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(
    DEBUG=False,
    SECRET_KEY="none",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django_rakaia"],
    MIDDLEWARE=[],
    USE_TZ=True,
    RAKAIA_STORE="durable",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": os.environ["PGHOST"],
            "PORT": os.environ["PGPORT"],
            "USER": os.environ["PGUSER"],
            "NAME": os.environ["PGDATABASE"],
            "CONN_MAX_AGE": None,
        }
    },
)


async def readyz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ready")


urlpatterns = [path("readyz", readyz)]
django = get_asgi_application()

from django.core.management import call_command  # noqa: E402  (asks the settings)
from django_rakaia.integration import get_asgi_app  # noqa: E402
from django_rakaia.store import get_store  # noqa: E402

from benchmarks.peers.servers.tokens import tokens  # noqa: E402

call_command("migrate", verbosity=0)
protocol, store = get_asgi_app(), get_store()
running: set[asyncio.Task[None]] = set()


async def application(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == "/api/chat":
        scope = await begun(receive, scope)
    if scope["type"] == "http" and scope["path"].startswith("/streams/"):
        await protocol({**scope, "path": scope["path"].removeprefix("/streams")}, receive, send)
    else:
        await django(scope, receive, send)


async def begun(receive: Callable[[], Awaitable[Any]], scope: dict[str, Any]) -> dict[str, Any]:
    """Begin the answer unless it was begun; what asks the protocol for its stream."""
    body = b""
    more = True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    sent = json.loads(body)
    message = sent["messages"][-1]
    stream = f"/{sent['id']}/{message['id']}"
    if await store.run_sync(is_new, stream, message):
        task = asyncio.create_task(run(stream, message["parts"][0]["text"]))
        running.add(task)
        task.add_done_callback(running.discard)
    query = b"offset=-1&live=sse"
    return {**scope, "method": "GET", "path": f"/streams{stream}", "query_string": query}


def is_new(stream: str, message: dict[str, Any]) -> bool:
    if store.has(stream):
        return False
    store.create(stream, content_type="application/json", initial_data=json.dumps(message).encode())
    return True


async def run(stream: str, text: str) -> None:
    made: asyncio.Queue[bytes | None] = asyncio.Queue()
    writing = asyncio.create_task(write(stream, made))
    async for token in tokens(text):
        made.put_nowait(json.dumps({"type": "text-delta", "id": "t", "delta": token}).encode())
    made.put_nowait(None)
    await writing


async def write(stream: str, made: asyncio.Queue[bytes | None]) -> None:
    """Append what has been made meanwhile in one transaction: its store takes milliseconds for each."""
    more = True
    while more:
        chunks = [await made.get()]
        while not made.empty():
            chunks.append(made.get_nowait())
        more = chunks[-1] is not None
        await store.run_sync(store.append_many, stream, [(chunk, None) for chunk in chunks if chunk is not None])
    await store.run_sync(store.close_stream, stream)
