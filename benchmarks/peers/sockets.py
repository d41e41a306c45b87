"""Chainlit's socket (Socket.IO on a WebSocket) as a load: frames are written by hand, and looked through for tokens."""

from __future__ import annotations

import asyncio
import json
import re
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from benchmarks.client import PATIENCE, Tally, Target
from benchmarks.peers.load import StampReader

PATH = "/ws/socket.io/?EIO=4&transport=websocket"
# One token, in an event of its own or as the beginning of a message; not the whole answer, which is told at its end.
STAMP = re.compile(rb'"(?:token|output)":"(\d{6,}) "')
END = b'42["update_message"'
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
)
PING, PONG = b"2", "3"


@dataclass(frozen=True, slots=True)
class Step:
    """What a client says once it has heard ``after``."""

    after: bytes
    words: str


def opening(session: str, thread: str, *emit: list[Any]) -> Iterator[Step]:
    """How a session is made, or found again, and what is emitted in it then."""
    who = {"sessionId": session, "clientType": "webapp", "userEnv": "{}", "chatProfile": "", "threadId": thread}
    yield Step(b"0{", f"40{json.dumps(who)}")
    yield Step(b"40{", '42["connection_successful"]')
    for event in emit:
        yield Step(b'42["task_end"', f"42{json.dumps(event)}")


def message(name: str, text: str) -> list[Any]:
    """The event that sends a message of this id."""
    now = datetime.now(UTC).isoformat()
    step = {"id": name, "name": "reader", "type": "user_message", "output": text, "createdAt": now}
    return ["client_message", {"message": step, "fileReferences": []}]


@dataclass(frozen=True, slots=True)
class Socket:
    """A session of its own for each message."""

    async def open(self, target: Target, tally: Tally, text: str) -> StampReader:
        reader = _SocketReader(tally)
        head = (f"GET {PATH} HTTP/1.1", f"Host: 127.0.0.1:{target.port}", f"Cookie: {target.token}", *UPGRADE, "", "")
        await reader.open(target, "\r\n".join(head).encode())
        for step in opening(uuid.uuid4().hex, "", message(str(uuid.uuid4()), text)):
            await asyncio.wait_for(reader.heard(step.after), PATIENCE)
            reader.say(step.words)
        return reader


class _SocketReader(StampReader):
    def __init__(self, tally: Tally) -> None:
        super().__init__(tally, STAMP, END)
        self._heard = b""
        self._more = asyncio.Event()

    async def heard(self, words: bytes) -> None:
        """Return when these have come, and forget what came until then."""
        while words not in self._heard:
            self._more.clear()
            await self._more.wait()
        self._heard = self._heard.partition(words)[2]

    def say(self, words: str) -> None:
        """Send a text frame, masked with zeros as a client's must be masked."""
        text = words.encode()
        length = bytes([0x80 | len(text)]) if len(text) < 126 else struct.pack("!BH", 0x80 | 126, len(text))
        self._transport.write(b"\x81" + length + bytes(4) + text)

    def data_received(self, data: bytes) -> None:
        if len(self._heard) < 10_000:  # the opening; the tokens are of no interest here
            self._heard += data
            self._more.set()
        super().data_received(data)
