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
            assert held(client)["readers"] == 1 + READERS
            for connection in connections:
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.close()
            assert eventually(lambda: held(client)["readers"] == 1, WITHIN), held(client)
            assert eventually(lambda: held(client)["tasks"] <= before["tasks"], WITHIN), (held(client), before)
        client.post("/api/chat/t1/stop").raise_for_status()
        stays.whole()
