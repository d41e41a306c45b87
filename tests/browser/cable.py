"""A cable between the browser and the server that a test can pull out."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Cable:
    """Passes bytes on, both ways. ``cut`` ends every connection and refuses new ones; ``mend`` takes them again.
    ``silence`` leaves the connections that there are as they are, and dead. Without ``sockets`` it is a proxy that
    knows no WebSockets.
    """

    def __init__(self, port: int, *, sockets: bool = True) -> None:
        self._target = port
        self._sockets = sockets
        self._listener: asyncio.Server | None = None
        self._flows = [asyncio.Event()]
        self._flows[-1].set()
        self._links: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def mend(self) -> None:
        self._listener = await asyncio.start_server(self._link, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._listener is not None
        self._listener.close()
        for writers in self._links.values():
            for writer in writers:
                writer.transport.abort()
        for flow in self._flows:
            flow.set()
        await asyncio.gather(*self._links, return_exceptions=True)
        await self._listener.wait_closed()

    def silence(self) -> None:
        self._flows[-1].clear()
        self._flows.append(asyncio.Event())
        self._flows[-1].set()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links[task] = writers = [writer]
        flow = self._flows[-1]
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(far_writer)
            first = await reader.read(65536)  # a browser opens a connection of its own for each socket
            if not self._sockets and b"upgrade: websocket" in first.lower():
                writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
                writer.close()
            else:
                far_writer.write(first)
                await asyncio.gather(_carry(reader, far_writer, flow), _carry(far_reader, writer, flow))
        for each in writers:
            each.transport.abort()
        del self._links[task]


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter, flow: asyncio.Event) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            await flow.wait()
            target.write(data)
            await target.drain()
    target.close()
