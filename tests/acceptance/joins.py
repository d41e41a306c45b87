"""Readers of a turn that join behind any chunk, over either transport: each gives cursors and the bytes of chunks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import orjson
import websockets.asyncio.client

from chat.models import ENDED
from chat.protocol import sse
from tests.acceptance.cluster import Cluster
from tests.acceptance.wire import Answer, frames, request

Chunk = tuple[str, bytes]


@dataclass(frozen=True)
class Place:
    """Where to join: at a server, behind chunk ``after`` of a turn."""

    cluster: Cluster
    token: str
    slot: int
    thread: str
    turn: int
    after: int

    @property
    def cursor(self) -> str:
        return f"{self.turn}-{self.after}"


Join = Callable[[Place], Awaitable[list[Chunk]]]


class Connection:
    """A kept-alive HTTP connection; one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, data: bytes) -> Answer:
        """The whole answer."""
        *_, answer = [grown async for grown in self.watch(data)]
        return answer

    async def watch(self, data: bytes) -> AsyncIterator[Answer]:
        """The answer, each time that it has grown, the last time whole."""
        self._writer.write(data)
        answer = Answer()
        while not answer.whole:
            piece = await self._reader.read(1 << 18)
            assert piece, f"the server hung up after {bytes(answer.body[-200:])!r}"
            answer.feed(piece)
            yield answer

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    connection = Connection(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))
    try:
        yield connection
    finally:
        connection.close()


class SseJoins:
    """``GET /api/turns/{pk}/stream?after=``, on connections that are used again while they are fresh."""

    FRESH = 2.0  # the server closes one after five idle seconds

    def __init__(self) -> None:
        self._idle: dict[int, list[tuple[float, Connection]]] = {}

    async def __call__(self, place: Place) -> list[Chunk]:
        port = place.cluster.ports[place.slot]
        connection = await self._connection(port)
        path = f"/api/turns/{place.turn}/stream?after={place.cursor}"
        answer = await connection.ask(request("GET", path, place.token))
        self._idle[port].append((time.monotonic(), connection))
        assert answer.status == 200, answer.body
        return stream_chunks(answer.body)

    async def _connection(self, port: int) -> Connection:
        idle = self._idle.setdefault(port, [])
        while idle:
            since, connection = idle.pop()
            if time.monotonic() - since < self.FRESH:
                return connection
            connection.close()
        return Connection(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))

    def close(self) -> None:
        for connections in self._idle.values():
            for _, connection in connections:
                connection.close()


def stream_chunks(body: bytes | bytearray) -> list[Chunk]:
    """The chunks of a whole stream, which is nothing but their frames and ``[DONE]``."""
    *events, done = frames(body)
    assert done == ("", sse.DONE)
    chunks = [(cursor, frame.partition(b"\ndata: ")[2].removesuffix(b"\n\n")) for cursor, frame in events]
    assert b"".join(sse.frame(chunk, cursor) for cursor, chunk in chunks) + sse.DONE == body
    return chunks


async def join_by_websocket(place: Place) -> list[Chunk]:
    """``/ws/threads/{id}/?after=``: frames ``{"cursor", "chunk"}`` until ``{"turn"}`` says that it has ended."""
    chunks: list[Chunk] = []
    address = f"{place.cluster.url(place.slot, 'ws')}/ws/threads/{place.thread}/?after={place.cursor}"
    async with websockets.asyncio.client.connect(
        address,
        origin=websockets.Origin(place.cluster.url(place.slot)),
        additional_headers={"Authorization": f"Bearer {place.token}"},
        compression=None,
        max_size=None,
    ) as socket:
        async for text in socket:
            told = orjson.loads(text)
            if "chunk" in told:
                chunk = orjson.dumps(told["chunk"])
                assert f'"chunk":{chunk.decode()}' in text, f"{chunk!r} is not what was sent: {text!r}"
                chunks.append((told["cursor"], chunk))
            elif told["turn"]["turn"] == place.turn and told["turn"]["status"] in ENDED:
                return chunks
    raise AssertionError("the socket was closed before the turn had ended")
