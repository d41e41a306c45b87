"""Clients that read a stream while a test does something else to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx

from chat.protocol import sse
from tests.acceptance.server import eventually


class Reader(threading.Thread):
    """Reads a stream to its end, or until it is cut. ``status`` is 0 as long as there was no answer."""

    def __init__(self, client: httpx.Client, method: str, path: str, **request: Any) -> None:
        super().__init__(daemon=True)
        self.received = b""
        self.status = 0
        self._open: Callable[[], Any] = lambda: client.stream(method, path, **request)
        self.start()

    def run(self) -> None:
        try:
            with self._open() as stream:
                self.status = stream.status_code
                for piece in stream.iter_raw():
                    self.received += piece
        except httpx.TransportError:
            pass

    @property
    def events(self) -> list[sse.Event]:
        return list(sse.Parser().feed(self.received))

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [event.chunk for event in self.events if event.chunk is not None]

    @property
    def bytes(self) -> bytes:
        """What came of the stream itself, without the comments that keep it open."""
        return self.received.replace(sse.KEEP_ALIVE, b"")

    @property
    def cursor(self) -> str | None:
        """Behind the last whole event: where this reader would resume."""
        cursors = [event.cursor for event in self.events if event.cursor]
        return cursors[-1] if cursors else None

    def until(self, words: bytes) -> None:
        assert eventually(lambda: words in self.received), self.received

    def whole(self, seconds: float = 30) -> bytes:
        self.join(seconds)
        assert self.received.endswith(sse.DONE), self.received[-200:]
        return self.bytes

    def whole_chunks(self) -> list[dict[str, Any]]:
        self.whole()
        return self.chunks


def answer_of(client: httpx.Client, thread: str) -> dict[str, Any] | None:
    """The last message of a thread, if it is an answer."""
    results = client.get(f"/api/threads/{thread}/messages/").raise_for_status().json()["results"]
    return results[-1] if results and results[-1]["role"] == "assistant" else None
