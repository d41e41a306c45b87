"""A crowd of readers in a process of its own: ``python -m tests.acceptance.crowd PORT TOKEN``.

A line of JSON in, one out: ``["open", N, path]``, ``["hang_up", N]``, ``["delays"]`` (seconds from the time of day in
each chunk of ``/clock`` to its arrival, since the last such line).
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

from chat.testing.servers import Server
from tests.acceptance.server import ROOT
from tests.acceptance.wire import request

AT_ONCE = 50
TIME = re.compile(rb'"delta":"(\d+\.\d+) "')


class Crowd:
    """The test's side of it."""

    def __init__(self, server: Server, token: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.crowd", str(server.port), token],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *problem: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def ask(self, *words: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Reader(asyncio.Protocol):
    """One connection; ``begun`` when the first chunk is there."""

    transport: asyncio.Transport

    def __init__(self, delays: list[float]) -> None:
        self.delays = delays
        self.begun = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self.delays += [now - float(told) for told in TIME.findall(data)]
        if not self.begun.done() and b"data: " in data:
            self.begun.set_result(None)

    def connection_lost(self, problem: Exception | None) -> None:
        if not self.begun.done():
            self.begun.set_exception(problem or ConnectionError("no stream"))


async def serve(port: int, token: str) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    readers: list[Reader] = []
    delays: list[float] = []
    turns = asyncio.Semaphore(AT_ONCE)

    async def opened(path: str) -> None:
        async with turns:
            transport, reader = await loop.create_connection(lambda: Reader(delays), "127.0.0.1", port)
            transport.write(request("GET", path, token))
            async with asyncio.timeout(60):
                await reader.begun
            readers.append(reader)

    while line := await lines.readline():
        answer: Any = None
        match json.loads(line):
            case ["open", int(number), str(path)]:
                await asyncio.gather(*(opened(path) for _ in range(number)))
                answer = len(readers)
            case ["hang_up", int(number)]:
                for reader in readers[:number]:
                    reader.transport.abort()
                del readers[:number]
                answer = len(readers)
            case ["delays"]:
                answer = delays[:]
                delays.clear()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    with suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
