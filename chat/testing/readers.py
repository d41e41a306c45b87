"""Clients that read a stream from a server while a test does something else to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import orjson
from django.urls import reverse

from chat.protocol import sse
from chat.testing.invariants import Ask, EndedTurn, assert_database_is_sound
from chat.testing.servers import eventually

#: Seconds within which a stream must come to what a test waits for.
PATIENCE = 90.0


class Reader(threading.Thread):
    """Reads a stream to its end, or until it is cut; one that ``resumes`` comes back behind the last whole event it
    got, as a careful client does, until it has read the end.

    ``status`` is 0 as long as there was no answer. Of one that resumes, ``cuts`` counts the connections that ended
    early, ``refusals`` holds the codes of the 503s it met; anything else is a ``mistake``.
    """

    def __init__(self, client: httpx.Client, method: str, path: str, *, resumes: bool = False, **request: Any) -> None:
        super().__init__(daemon=True)
        self.status = 0
        self.cuts = 0
        self.refusals: list[str] = []
        self.mistake = ""
        self._received = bytearray()
        self._client, self._resumes = client, resumes
        self._first: dict[str, Any] = {"method": method, "url": path, **request}
        self.start()

    def run(self) -> None:
        deadline = time.monotonic() + PATIENCE
        self._read(self._first)
        while self._resumes and not self._received.endswith(sse.DONE) and not self.mistake:
            if time.monotonic() > deadline:
                self.mistake = f"no end; {self.cuts} cuts, {self.refusals} refusals"
            del self._received[self._received.rfind(b"\n\n") + 2 if b"\n\n" in self._received else 0 :]
            time.sleep(0.05)  # as a client does before it tries again
            self._read(self._next())

    def _next(self) -> dict[str, Any]:
        if not (cursor := self.cursor):
            return self._first
        return {"method": "GET", "url": reverse("turn-stream", args=[self.turn]), "params": {"after": cursor}}

    def _read(self, request: dict[str, Any]) -> None:
        before = len(self._received)
        try:
            with self._client.stream(**request) as answer:
                self.status = answer.status_code
                if self._resumes and self.status != 200:
                    self._refused(answer.read())
                else:
                    for piece in answer.iter_raw():
                        self._received += piece
        except httpx.TransportError:
            pass
        except RuntimeError as problem:  # the test is over, and has closed the client
            self.mistake = str(problem)
        self.cuts += len(self._received) > before and not self._received.endswith(sse.DONE)

    def _refused(self, body: bytes) -> None:
        try:
            code = orjson.loads(body)["error"]["code"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            code = ""
        if self.status != 503 or not code:
            self.mistake = f"{self.status}: {body!r}"
        self.refusals.append(code)

    @property
    def received(self) -> bytes:
        return bytes(self._received)

    @property
    def events(self) -> list[sse.Event]:
        return sse.parse(self.received)

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [event.chunk for event in self.events if event.chunk is not None]

    @property
    def cursor(self) -> str:
        """Behind the last whole event, where this reader would resume; empty where there is none."""
        return next((event.cursor for event in reversed(self.events) if event.cursor), "")

    @property
    def turn(self) -> int:
        return int(self.cursor.partition("-")[0])

    def until(self, words: bytes) -> None:
        """Wait for these bytes."""
        eventually(lambda: words in self._received or not self.is_alive(), PATIENCE)
        assert words in self._received, self.mistake or self.received[-200:]

    def whole(self, seconds: float = PATIENCE + 10) -> bytes:
        """Its bytes, once it is at the end."""
        self.join(seconds)
        assert self._received.endswith(sse.DONE), self.mistake or self.received[-200:]
        return self.bytes

    @property
    def bytes(self) -> bytes:
        """What came of the stream itself, without the comments that keep it open."""
        return self.received.replace(sse.KEEP_ALIVE, b"")


def assert_shown_is_stored(turns: Mapping[str, EndedTurn], readers: Mapping[str, Reader]) -> None:
    """What each reader got, however it ended, is the beginning of the stream of the turn of its name; where there is no
    such turn, nothing was shown.
    """
    for name, reader in readers.items():
        reader.join(10)
        stream = turns[name].stream if name in turns else b""
        assert stream.startswith(reader.bytes), f"{name}: what was shown is not what is stored"


def assert_all_read_what_is_stored(ask: Ask, readers: Sequence[Reader]) -> EndedTurn:
    """``readers`` read one turn: it has ended, and each of them got exactly what is stored. Returns the turn."""
    wholes = {reader.whole() for reader in readers}
    (turn,) = assert_database_is_sound(ask, f"t.id = {readers[0].turn}")
    assert wholes == {turn.stream}
    return turn
