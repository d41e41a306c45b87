"""A server that speaks OpenAI's streaming wire, and breaks it in every way that a network or a provider does.

It runs in the loop of the test. An answer is a coroutine that is given the ``Exchange``: what was asked, and the raw
socket to answer on.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

KEY = "sk-" + "do-not-tell"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def piece(content: str | None = None, *, finish: str | None = None, **delta: Any) -> bytes:
    """One event of an answer: some text, other keys of ``delta``, or the reason of its end."""
    said = {**delta, **({"content": content} if content is not None else {})}
    return event(choices=[{"index": 0, "delta": said, "finish_reason": finish}])


def event(**keys: Any) -> bytes:
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1700000000, "model": "test-model", **keys}
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


def usage(prompt: int = 11, completion: int = 7) -> bytes:
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return event(choices=[], usage={**counts, "prompt_tokens_details": {"cached_tokens": 3}})


def framed(data: bytes) -> bytes:
    """Bytes of the body as one chunk of HTTP's chunked encoding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def whole(*events: bytes) -> bytes:
    """A whole response, byte for byte."""
    return HEAD + b"".join(map(framed, (*events, DONE))) + b"0\r\n\r\n"


class Exchange:
    """One request and the connection that it came on."""

    def __init__(self, body: dict[str, Any], headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        self.body = body
        self.headers = headers
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def stream(self, *events: bytes) -> None:
        """A whole answer."""
        await self.send(whole(*events))

    async def refuse(self, status: int, error: dict[str, Any] | None = None, **headers: str) -> None:
        content = json.dumps({"error": error or {"message": f"no {KEY}"}}).encode()
        lines = [f"HTTP/1.1 {status} No", "content-type: application/json", f"content-length: {len(content)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode() + content)

    def reset(self) -> None:
        """Cut the connection off: the other side reads a reset."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Answer = Callable[[Exchange], Awaitable[None]]


class Provider:
    """``asked`` are the requests so far; ``hung_up`` is set when a client has gone in mid answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Exchange] = []
        self.arrived = asyncio.Event()
        self.hung_up = asyncio.Event()
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    await self._exchange(reader, writer)
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-1])}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        exchange = Exchange(body, headers, writer)
        self.asked.append(exchange)
        self.arrived.set()
        answering = asyncio.ensure_future(self.answer(exchange))
        # Nobody sends while an answer is on its way: bytes, or their end, mean that the client is gone.
        gone = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            answering.cancel()
            self.hung_up.set()
            raise ConnectionResetError
        if not gone.done():
            gone.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await gone
        await answering

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def provider(answer: Answer) -> AsyncIterator[Provider]:
    """The server, on a free port of loopback."""
    mine = Provider(answer)
    server = await asyncio.start_server(mine.serve, "127.0.0.1", 0)
    mine.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield mine
    finally:
        server.close()
        await mine.close()
        await server.wait_closed()
