"""The WebSocket on every server: the same bytes as over HTTP, stop from another process, and an end on SIGTERM."""

from __future__ import annotations

import signal
import time
from typing import Any

import orjson
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from chat.protocol import sse
from chat.testing.client import said
from chat.testing.readers import Reader
from chat.testing.servers import Server, running
from tests.acceptance.database import Database
from tests.acceptance.preloaded import Nursery, Preloaded

pytestmark = pytest.mark.timeout(120)
DRAIN = 1


def opened(server: Server, database: Database, path: str) -> ClientConnection:
    return connect(
        server.url.replace("http", "ws", 1) + path,
        additional_headers={"Authorization": f"Bearer {database.token}"},
        open_timeout=20,
        max_size=None,
    )


def until(socket: ClientConnection, status: str) -> list[str]:
    """The frames up to the first turn of this status."""
    heard = []
    while True:
        text = str(socket.recv(timeout=20))
        heard.append(text)
        if orjson.loads(text).get("turn", {}).get("status") == status:
            return heard


def cursors_and_chunks(frames: list[str]) -> list[tuple[str, Any]]:
    found = map(orjson.loads, frames)
    return [(frame["cursor"], frame["chunk"]) for frame in found if "chunk" in frame]


@pytest.mark.parametrize("kind", ["uvicorn", "daphne", "granian"])
def test_a_socket_follows_a_thread_through_turns_of_two_processes(
    database: Database, nursery: Nursery, kind: str
) -> None:
    server, other = database.server(kind, CHAT_DRAIN_SECONDS=DRAIN), Preloaded(nursery, database.url)
    with running(server, other), server.client(database.token) as client, other.client(database.token) as elsewhere:
        Reader(client, "POST", "/api/chat", json=said("t1", "/tokens 1 0", "m0")).whole()
        with opened(server, database, "/ws/threads/t1/") as socket:
            reader = Reader(elsewhere, "POST", "/api/chat", json=said("t1", "/tokens 50 10", "m1"))
            frames = until(socket, "completed")
            assert reader.whole()
            assert cursors_and_chunks(frames) == [(event.cursor, event.chunk) for event in reader.events[:-1]]
            middle = cursors_and_chunks(frames)[20][0]
            with opened(other, database, f"/ws/threads/t1/?after={middle}") as late:
                rest = until(late, "completed")
            assert [frame for frame in rest if "chunk" in frame] == [frame for frame in frames if "chunk" in frame][21:]

            reader = Reader(elsewhere, "POST", "/api/chat", json=said("t1", "/hang", "m2"))
            reader.until(b"text-delta")
            socket.send(orjson.dumps({"stop": {}}).decode())
            stopped, chunk = cursors_and_chunks(until(socket, "stopped"))[-1]
            assert chunk == {"type": "abort"}
            assert reader.whole().endswith(sse.DONE)

            socket.send(orjson.dumps({"submit": said("", "/hang", "m3")}).decode())
            while '"text-delta"' not in str(socket.recv(timeout=20)):
                pass
            assert server.process
            begun = time.monotonic()
            server.send(signal.SIGTERM)
            if not server.worker:  # whose turns' ends it does not wait for before it lets its sockets go
                until(socket, "interrupted")
            with pytest.raises(ConnectionClosed):
                until(socket, "never")
            server.wait(20)
            assert time.monotonic() - begun < DRAIN + 8
            with opened(other, database, f"/ws/threads/t1/?after={stopped}") as back:
                until(back, "interrupted")
        turns = [status for (status,) in database.ask("SELECT status FROM chat_turns ORDER BY id")]
        assert turns == ["completed", "completed", "stopped", "interrupted"]
