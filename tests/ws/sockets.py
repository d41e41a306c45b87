"""A client of the WebSocket, on the ASGI application itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from channels.testing import WebsocketCommunicator

from chat.models import Turn
from chat.testing.client import HOST, Client
from chatproject.asgi import application

PATH = "/ws/threads/t1/"


async def begun(client: Client) -> int:
    """That thread with one ended turn."""
    await client.send("t1", "/tokens 3 0", "m0")
    return (await Turn.objects.aget(turn_id="m0")).pk


class Refused(Exception):
    """The handshake was refused."""


class Socket:
    def __init__(self, communicator: WebsocketCommunicator) -> None:
        self._communicator = communicator
        self.texts: list[str] = []
        self.code: int | None = None

    async def say(self, frame: Any) -> None:
        if isinstance(frame, bytes):
            await self._communicator.send_to(bytes_data=frame)
        else:
            text = frame if isinstance(frame, str) else orjson.dumps(frame).decode()
            await self._communicator.send_to(text_data=text)

    async def hear(self, seconds: float = 10) -> dict[str, Any] | None:
        """The next frame; None when the server has closed, for a ``code``."""
        message = await self._communicator.receive_output(seconds)
        if message["type"] == "websocket.close":
            self.code = message.get("code")
            return None
        self.texts.append(message["text"])
        frame: dict[str, Any] = orjson.loads(message["text"])
        return frame

    async def until(self, **wanted: Any) -> list[dict[str, Any]]:
        """The frames up to the first ``turn`` frame that has these values."""
        heard = []
        while (frame := await self.hear()) is not None:
            heard.append(frame)
            turn = frame.get("turn")
            if turn and all(turn[name] == value for name, value in wanted.items()):
                return heard
        raise AssertionError(f"closed with {self.code} before a turn with {wanted}; heard {heard}")


@asynccontextmanager
async def socket(client: Client, path: str, application: Any = application, **headers: str) -> AsyncIterator[Socket]:
    """Open a socket with the client's headers; raises Refused where the handshake is."""
    sent = {"host": HOST, **client.headers, **headers}
    protocols = [one.strip() for one in sent.pop("sec-websocket-protocol", "").split(",") if one.strip()]
    communicator = WebsocketCommunicator(
        application,
        path,
        headers=[(name.encode(), value.encode()) for name, value in sent.items()],
        subprotocols=protocols or None,
    )
    accepted, _ = await communicator.connect(5)
    if not accepted:
        raise Refused
    try:
        yield Socket(communicator)
    finally:
        await communicator.disconnect(timeout=5)


def chunks_of(frames: list[dict[str, Any]], turn: int | None = None) -> list[dict[str, Any]]:
    """The chunks among frames, of one turn where one is named."""
    return [
        frame["chunk"]
        for frame in frames
        if "chunk" in frame and (turn is None or frame["cursor"].startswith(f"{turn}-"))
    ]
