"""Talk to the project's ASGI application itself, without a server: whole answers, streams, and clients that leave.

In the same process and event loop as the test, so what the test patches holds, and its database is the test's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from channels.routing import get_default_application
from django.urls import reverse

from chat.protocol import sse
from chat.protocol.chunks import Chunk

HOST = "testserver"


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)

    def chunks(self) -> list[dict[str, Any]]:
        """The chunks of a whole stream, which must have come to its end."""
        events = sse.parse(self.body)
        assert events, self.body
        assert events[-1].chunk is None, "the stream has no [DONE]"
        return [event.chunk for event in events if event.chunk is not None]


class Stream:
    """An answer that is still coming; its client reads all of it, or ``takes`` pieces and then no more."""

    def __init__(self, takes: int | None = None) -> None:
        self.takes = takes
        self.status = 0
        self.headers: dict[str, str] = {}
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._parser = sse.Parser()
        self._read: deque[sse.Event] = deque()
        self._started = asyncio.Event()
        self._gone = asyncio.Event()

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            self._started.set()
        elif message["type"] == "http.response.body":
            if self.takes is not None:
                if not self.takes:
                    await self.gone()
                self.takes -= 1
            if message.get("body"):
                self._pieces.put_nowait(message["body"])
            if not message.get("more_body"):
                self._pieces.put_nowait(None)

    async def begun(self) -> None:
        """Wait for the first byte, or until the server's side is done with it."""
        await self._started.wait()

    def close(self) -> None:
        """The server's side is done with it."""
        self._started.set()
        self._pieces.put_nowait(None)

    def hang_up(self) -> None:
        self._gone.set()

    async def gone(self) -> None:
        await self._gone.wait()

    async def pieces(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def events(self) -> AsyncGenerator[sse.Event, None]:
        """The events that nobody has read yet; who stops in the middle may go on."""
        while True:
            while self._read:
                yield self._read.popleft()
            piece = await self._pieces.get()
            if piece is None:
                return
            self._read.extend(self._parser.feed(piece))

    async def until(self, kind: str) -> list[Chunk]:
        """Read on up to the first chunk of this type; what was read, that one included. Raises AssertionError where
        the stream ends without one.
        """
        read: list[Chunk] = []
        async with aclosing(self.events()) as events:
            async for event in events:
                assert event.chunk is not None, f"no {kind} in {read}"
                read.append(event.chunk)
                if event.chunk["type"] == kind:
                    return read
        raise AssertionError(f"no {kind} in {read}")

    async def body(self) -> bytes:
        return b"".join([piece async for piece in self.pieces()])


@dataclass
class Client:
    """A client with headers of its own, e.g. a bearer token's."""

    headers: dict[str, str]

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, takes: int | None = None
    ) -> AsyncIterator[Stream]:
        """The answer to a request, from its first byte on; leaving the context hangs up, also before that."""
        stream = Stream(takes)
        content = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        sent = {"host": HOST, "content-type": "application/json", **self.headers, **(headers or {})}
        sent.setdefault("content-length", str(len(content)))
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in sent.items()],
            "client": ("127.0.0.1", 1),
            "server": (HOST, 80),
        }
        bodies = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if bodies:
                return bodies.pop()
            await stream.gone()
            return {"type": "http.disconnect"}

        application = get_default_application()  # ASGI_APPLICATION
        task = asyncio.create_task(application(scope, receive, stream.send))  # type: ignore[arg-type]
        task.add_done_callback(lambda _: stream.close())
        try:
            await stream.begun()
            if not stream.status:
                await task  # raises what went wrong
            yield stream
        finally:
            stream.hang_up()
            await asyncio.wait_for(task, 10)

    async def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Response:
        async with self.stream(method, path, body, headers) as stream:
            return Response(body=await stream.body(), status=stream.status, headers=stream.headers)

    async def send(self, thread: str, text: str, message_id: str | None = None, **keys: Any) -> Response:
        """Send a user message and read the whole stream."""
        return await self.request("POST", reverse("chat-send"), said(thread, text, message_id, **keys))


def said(thread: str, text: str, message_id: str | None = None, **keys: Any) -> dict[str, Any]:
    """The body that an AI SDK client posts for a new message."""
    message: dict[str, Any] = {"role": "user", "parts": [{"type": "text", "text": text}]}
    if message_id is not None:
        message["id"] = message_id
    return {"id": thread, "messages": [message], "trigger": "submit-message", **keys}
