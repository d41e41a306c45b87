"""Readers that leave a silent stream are noticed within a second, on every server, and leave nothing behind."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from chat.testing.client import said
from chat.testing.readers import Reader
from chat.testing.servers import Server, eventually, running
from tests.acceptance.database import Database
from tests.acceptance.watched import SETTINGS, held
from tests.acceptance.wire import request

pytestmark = pytest.mark.timeout(300)

READERS = 20
WITHIN = 1.0
BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
RESET = struct.pack("ii", 1, 0)  # lingers for no time: closing sends a RST, as a client does that crashes


@pytest.fixture
def server(database: Database, request: pytest.FixtureRequest) -> Iterator[Server]:
    server = database.server(request.param, DJANGO_SETTINGS_MODULE=SETTINGS)
    with running(server):
        yield server


def reader(server: Server, token: str, path: str) -> socket.socket:
    """A connection on which a stream has begun."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.sendall(request("GET", path, token))
    received = b""
    while b"that is all" not in received:
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    return connection


@pytest.mark.parametrize("server", ["uvicorn", "daphne", "granian"], indirect=True)
def test_a_reader_that_hangs_up_is_noticed_within_a_second(server: Server, database: Database) -> None:
    token = database.token
    with server.client(token) as client:
        stays = Reader(client, "POST", "/api/chat", json=said("t1", "/big 1", "t1"), resumes=True)
        stays.until(b"that is all")
        before = held(client)
        assert before["readers"] == 1
        for reset in (False, True):
            connections = [reader(server, token, f"/api/turns/{stays.turn}/stream") for _ in range(READERS)]
            full = held(client)
            assert full["readers"] == 1 + READERS
            assert full["threads"] < before["threads"] + READERS // 2, "each reader holds a thread"
            for connection in connections:
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.close()
            assert eventually(lambda: held(client)["readers"] == 1, WITHIN), held(client)
            assert eventually(lambda: held(client)["tasks"] <= before["tasks"], WITHIN), (held(client), before)
        client.post("/api/chat/t1/stop").raise_for_status()
        stays.whole()


@pytest.mark.parametrize("server", ["uvicorn"], indirect=True)
def test_a_body_that_comes_slowly_holds_no_thread_and_no_connection(server: Server, database: Database) -> None:
    """It is waited for, by a task, for as long as its sender stays; nobody was asked who that is."""
    with server.client(database.token) as client:
        client.get("/api/threads/").raise_for_status()
        before, backends = held(client), database.ask(BACKENDS)
        slow = []
        for path in ("/api/chat", "/api/threads/") * READERS:
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
            connection.sendall(head.encode() + b'{"id"')
            slow.append(connection)
        assert eventually(lambda: held(client)["tasks"] >= 2 * READERS), held(client)
        assert held(client)["threads"] <= before["threads"] + 1
        assert database.ask(BACKENDS) <= backends
        client.get("/api/threads/").raise_for_status()
        for connection in slow:
            connection.close()
        assert eventually(lambda: held(client)["tasks"] <= before["tasks"], WITHIN), (held(client), before)
