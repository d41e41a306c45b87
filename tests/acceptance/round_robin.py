"""One address in front of several servers: each new TCP connection goes to the next of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle


class RoundRobin:
    """``url`` is the address; ``served`` counts the connections that each port behind it got."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.served = dict.fromkeys(ports, 0)
        self.url = ""
        self._next = cycle(ports)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = next(self._next)
        self.served[port] += 1
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
        ways = [
            asyncio.ensure_future(carry(reader, behind_writer)),
            asyncio.ensure_future(carry(behind_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)  # who hangs up, hangs up on both sides
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, behind_writer):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()


@asynccontextmanager
async def one_address(ports: Sequence[int]) -> AsyncIterator[RoundRobin]:
    proxy = RoundRobin(ports)
    open_connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        open_connections.add(task)
        task.add_done_callback(open_connections.discard)
        await proxy.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await asyncio.gather(*open_connections, return_exceptions=True)
