"""What a host project wraps its ASGI application in::

    from chat.asgi import with_chat
    application = with_chat(get_asgi_application())

Streaming paths go to their endpoints, all else to the application; live turns are ended and stored before the
process exits.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from channels.routing import ProtocolTypeRouter
from django.urls import Resolver404, resolve

from chat.turns.process import end_process, start_process
from chat.turns.run import accept_turns_again

Application = Callable[..., Awaitable[None]]


def with_chat(application: Application, websocket: Application | None = None) -> Application:
    """The application with chat's streaming endpoints and sockets in front of it, lifespan and shutdown included.
    Sockets of other paths go to ``websocket``, where the host has one.
    """
    router: Application = ProtocolTypeRouter(
        {"http": _Streams(application), "websocket": _Sockets(websocket or _refuse), "lifespan": _lifespan}
    )
    return router


class _Streams:
    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        endpoint, kwargs = _resolved(scope, "asgi")
        if endpoint is None:
            await self.application(scope, receive, send)
        else:
            await endpoint(scope, receive, send, **kwargs)


class _Sockets:
    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        endpoint, kwargs = _resolved(scope, "websocket")
        if endpoint is None:
            await self.application(scope, receive, send)
        else:
            await endpoint({**scope, "url_route": {"args": (), "kwargs": kwargs}}, receive, send)


def _resolved(scope: dict[str, Any], kind: str) -> tuple[Application | None, dict[str, Any]]:
    """The view's own ASGI application for this path, if it has one, and its arguments."""
    _drain_on_signal()
    start_process()  # also here: daphne knows no lifespan
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    try:
        match = resolve(path)
    except Resolver404:
        return None, {}
    return getattr(match.func, kind, None), match.kwargs


async def _refuse(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close"})


async def _lifespan(scope: dict[str, Any], receive: Any, send: Any) -> None:
    while True:
        event = (await receive())["type"]
        if event == "lifespan.startup":
            accept_turns_again()
            _drain_on_signal()
            start_process()
            await send({"type": "lifespan.startup.complete"})
        else:
            await end_process()
            await send({"type": "lifespan.shutdown.complete"})
            return


_signals_taken = False


def _drain_on_signal() -> None:
    """Once a process: on SIGTERM and Ctrl-C, drain, then let the server do what it would have done.

    No server does it for us: some cut off their streams, some wait for ever until the readers leave (measured,
    see docs). A second signal goes straight to the server.
    """
    global _signals_taken
    if _signals_taken:
        return
    _signals_taken = True
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            _chain(number, loop)
        except ValueError:  # not the main thread: a test's server, or one that handles signals elsewhere
            return


def _chain(number: signal.Signals, loop: asyncio.AbstractEventLoop) -> None:
    earlier = signal.getsignal(number)
    if not callable(earlier):
        return
    tasks: set[asyncio.Task[None]] = set()

    async def drain_first() -> None:
        try:
            await end_process()
        finally:
            earlier(number, None)

    def handle(signum: int, frame: Any) -> None:
        signal.signal(number, earlier)
        loop.call_soon_threadsafe(lambda: tasks.add(loop.create_task(drain_first())))

    signal.signal(number, handle)
