"""What durable streams are measured against: Django's own way to stream, with the same agent and the same encoder.

A whole Django project in one file, without middleware, database or authentication. It stores nothing: its answer is
gone with its connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from chat.agents.base import TurnContext
from chat.protocol import sse

settings.configure(
    DEBUG=False,
    SECRET_KEY="none",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[],
    MIDDLEWARE=[],
    CHAT_AGENT="benchmarks.agent.agent",
)

from chat.agents.base import load_agent  # noqa: E402  (asks the settings)

HEADERS = {name.decode(): value.decode() for name, value in sse.HEADERS}


async def send_message(request: HttpRequest) -> StreamingHttpResponse:
    """``POST /api/chat`` with the same body as the product's."""
    message = orjson.loads(request.body)["messages"][-1]
    turn = TurnContext(thread_id="", turn_id="", user_id=None, history=[message], message=message)
    return StreamingHttpResponse(_frames(turn), headers=HEADERS)


async def _frames(turn: TurnContext) -> AsyncIterator[bytes]:
    seq = 0
    async for chunk in load_agent().run(turn):
        seq += 1
        yield sse.frame(sse.encode(chunk), f"1-{seq}")
    yield sse.DONE


async def readyz(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ready")


urlpatterns = [path("api/chat", send_message), path("readyz", readyz)]
application = get_asgi_application()
