"""HTTP over plain sockets: answers that are read piece by piece, left in the middle, or cut off by a dead server."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from typing import Any

import httptools
import orjson

from chat.protocol import sse


class Answer:
    """One HTTP answer as it comes in. ``feed`` it; ``whole`` is True at its orderly end."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.whole = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.whole = True

    def json(self) -> Any:
        return orjson.loads(self.body)


def request(method: str, path: str, token: str, body: Any = None) -> bytes:
    """The bytes of a request."""
    content = b"" if body is None else orjson.dumps(body)
    head = (
        f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class Exchange:
    """A request on a connection of its own, sent at once, and its answer, read when ``receive`` is called."""

    def __init__(self, port: int, data: bytes) -> None:
        self.answer = Answer()
        self.broken = False
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.sendall(data)

    def receive(self, seconds: float) -> bool:
        """Take what comes next; False when nothing does in time, or ever."""
        if self.over or not select.select([self._socket], [], [], max(0.0, seconds))[0]:
            return False
        try:
            data = self._socket.recv(1 << 18)
        except ConnectionError:
            data = b""
        if data:
            self.answer.feed(data)
        else:
            self.broken = True
        if self.answer.whole or self.broken:
            self._socket.close()
        return bool(data)

    @property
    def over(self) -> bool:
        """Whether nothing more comes: the answer is whole, or the server is gone."""
        return self.answer.whole or self.broken

    def status(self, seconds: float = 10) -> int:
        """The status, once it is there; 0 when the server died instead."""
        deadline = time.monotonic() + seconds
        while not self.answer.status and not self.broken:
            assert self.receive(deadline - time.monotonic()) or self.broken, f"no answer in {seconds} s"
        return self.answer.status

    def to_the_end(self, seconds: float = 10) -> Answer:
        deadline = time.monotonic() + seconds
        while not self.over:
            assert self.receive(deadline - time.monotonic()) or self.broken, (
                f"no end in {seconds} s of {bytes(self.answer.body[-300:])!r}"
            )
        return self.answer

    def hang_up(self) -> None:
        self._socket.close()


def frames(body: bytes | bytearray) -> Iterator[tuple[str, bytes]]:
    """The events of a stream, whole ones only: their cursor and their bytes. ``[DONE]`` has no cursor, comments are
    left out.
    """
    for block in bytes(body).split(b"\n\n")[:-1]:
        frame = block + b"\n\n"
        if frame == sse.DONE:
            yield "", frame
        elif not frame.startswith(b":"):
            cursor, _, _ = frame.removeprefix(b"id: ").partition(b"\n")
            assert frame.startswith(b"id: "), frame
            yield cursor.decode(), frame
