"""What a host project wraps its ASGI application in::

    from chat.asgi import with_chat
    application = with_chat(get_asgi_application())

Streaming paths and probes go to their endpoints, all else to the application; live turns are ended and stored before
the process exits.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from channels.routing import ProtocolTypeRouter
from django.urls import Resolver404, resolve

from chat.agents.defects import log_agent_problems
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
            start_process()
            await asyncio.to_thread(log_agent_problems)
            _freeze()
            await send({"type": "lifespan.startup.complete"})
        else:
            await end_process()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _freeze() -> None:
    """What was imported stays until the end: a collection need not walk through it. Each walk stops all streams for as
    long (measured: 130,000 objects, three to five times a minute), and garbage waits until it is a quarter of them.
    """
    gc.collect()
    gc.freeze()


_signals_taken = False


def _drain_on_signal() -> None:
    """Once a process, with its first request: on SIGTERM and Ctrl-C, drain, then let the server do what it would have
    done. (Before that there are no readers, and the end of the lifespan drains as well.)

    No server does it for us: some cut off their streams, some wait for ever until the readers leave (measured,
    see docs). A second signal goes straight to the server.
    """
    global _signals_taken
    if _signals_taken:
        return
    _signals_taken = True
    loop = asyncio.get_running_loop()
    hush = _Hush(loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            _chain(number, loop, hush)
        except ValueError:  # not the main thread: a test's server, or one that handles signals elsewhere
            return


def _chain(number: signal.Signals, loop: asyncio.AbstractEventLoop, hush: _Hush) -> None:
    earlier = signal.getsignal(number)
    if not callable(earlier):
        return
    if hush.concerns(earlier):
        hush.begin()
    tasks: set[asyncio.Task[None]] = set()

    async def drain_first() -> None:
        try:
            await end_process(last=False)
        finally:
            if hush.concerns(earlier):
                signal.raise_signal(number)
            else:
                earlier(number, None)

    def handle(signum: int, frame: Any) -> None:
        signal.signal(number, earlier)
        hush.end()
        loop.call_soon_threadsafe(lambda: tasks.add(loop.create_task(drain_first())))

    signal.signal(number, handle)


class _Hush:
    """Keeps signals from a loop that a server has left them to (granian): what Python calls then does nothing, and the
    loop reads the signal's number from a socket. While it gets another socket to read, it wakes up and does no more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._theirs: int | None = None
        self._ours: tuple[socket.socket, socket.socket] | None = None

    def concerns(self, handler: Any) -> bool:
        """Whether this handler stands for ``loop.add_signal_handler``, in uvloop or in asyncio."""
        module = getattr(handler, "__module__", "")
        return getattr(handler, "__self__", None) is self._loop or module == "asyncio.unix_events"

    def begin(self) -> None:
        if self._ours is None:
            ears, mouth = self._ours = socket.socketpair()
            ears.setblocking(False)
            mouth.setblocking(False)
            self._theirs = signal.set_wakeup_fd(mouth.fileno())
            self._loop.add_reader(ears, ears.recv, 4096)

    def end(self) -> None:
        if self._theirs is not None:
            signal.set_wakeup_fd(self._theirs)
            self._theirs = None
