"""The WebSocket's place in the URLconf: it stands under whatever prefix the host includes ``chat.urls``."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse

from chat.ws.consumer import ThreadConsumer


@login_not_required
def thread_socket(request: HttpRequest, thread_id: str) -> HttpResponse:
    """A plain request is told what is missing; ``chat.asgi`` gives the sockets to ``websocket``."""
    return HttpResponse(status=426, headers={"Upgrade": "websocket", "Connection": "Upgrade"})


thread_socket.websocket = ThreadConsumer.as_asgi()  # type: ignore[attr-defined]
