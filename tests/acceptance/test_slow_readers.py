"""What a reader costs that never reads, on every server; and that it is dropped and may come back."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

import httptools
import httpx
import pytest

from chat.protocol import sse
from chat.testing.client import said
from chat.testing.readers import Reader
from chat.testing.servers import Server, eventually, running
from tests.acceptance.database import Database
from tests.acceptance.watched import SETTINGS, held, resident
from tests.acceptance.wire import request
from tests.scale import LONG, rounds

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

READERS = 20
KILOBYTES = rounds(5_000, 8_000)  # a few thousand fit into the buffers of the two kernels
PATIENCE = rounds(2, 5)
MOST = 1_000_000


@pytest.fixture
def server(database: Database, request: pytest.FixtureRequest) -> Iterator[Server]:
    server = database.server(
        request.param,
        DJANGO_SETTINGS_MODULE=SETTINGS,
        CHAT_STREAM_LINGER_SECONDS=0.5,
        CHAT_SLOW_READER_SECONDS=PATIENCE,
    )
    with running(server):
        yield server


class Stuck(AbstractContextManager["Stuck"]):
    """A client that asks for a stream and does not read it, until it is asked to."""

    def __init__(self, server: Server, token: str, path: str) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", server.port))
        self.socket.sendall(request("GET", path, token))
        self._received = b""

    def __exit__(self, *problem: object) -> None:
        self.socket.close()

    def on_body(self, piece: bytes) -> None:
        self._received += piece

    def rest(self) -> bytes:
        """All that comes until the connection is at its end: whole events of it."""
        parser = httptools.HttpResponseParser(self)
        with suppress(ConnectionResetError):
            while piece := self.socket.recv(1 << 20):
                parser.feed_data(piece)
        return self._received.rpartition(b"\n\n")[0] + b"\n\n"


@contextmanager
def stuck_readers(server: Server, client: httpx.Client, token: str) -> Iterator[tuple[float, list[Stuck], Reader]]:
    """Some, of a long turn with one reader that reads; and what each of them costs, in bytes."""
    reads = Reader(client, "POST", "/api/chat", json=said("t1", f"/big {KILOBYTES}", "m1"), resumes=True)
    reads.until(b"that is all")
    before = largest(client)
    with ExitStack() as sockets:
        stuck = [sockets.enter_context(Stuck(server, token, f"/api/turns/{reads.turn}/stream")) for _ in range(READERS)]
        assert eventually(lambda: held(client)["readers"] == READERS + 1)
        try:
            yield (largest(client) - before) / READERS, stuck, reads
        finally:
            client.post("/api/chat/t1/stop")
            reads.join()


def largest(client: httpx.Client) -> int:
    """What the process holds once it holds no more than a moment before."""
    earlier = -1
    while (now := resident(client)) > earlier:
        earlier = now
        time.sleep(0.3)
    return earlier


@pytest.mark.parametrize("server", ["uvicorn", "granian"], indirect=True)
def test_a_reader_that_never_reads_costs_little_and_is_dropped_and_resumes(server: Server, database: Database) -> None:
    token = database.token
    with server.client(token) as client, stuck_readers(server, client, token) as (each, stuck, reads):
        print(f"{server.kind}: {each / 1000:.0f} kB a reader that never reads")
        assert each < MOST
        assert eventually(lambda: held(client)["readers"] == 1, PATIENCE * 4), "the others are still there"
        client.post("/api/chat/t1/stop").raise_for_status()
        whole = reads.whole()
        assert eventually(lambda: held(client)["streams"] == 0), "the frames are still held"
        for one in stuck[: rounds(2, READERS)]:
            received = one.rest()
            assert 0 < len(received) < len(whole)
            assert whole.startswith(received)
            cursor = received.rpartition(b"id: ")[2].partition(b"\n")[0].decode()
            rest = client.get(f"/api/turns/{reads.turn}/stream", params={"after": cursor})
            assert received + rest.content == whole
            assert rest.content.endswith(sse.DONE)
    log = server.log.read_text()
    assert log.count("did not read") == READERS
    assert "ERROR" not in log
    assert "xxxx" not in log


@pytest.mark.skipif(not LONG, reason="only a figure for the documentation")
@pytest.mark.parametrize("server", ["daphne"], indirect=True)
def test_a_reader_that_never_reads_costs_as_much_as_its_turn_streams_on_daphne(
    server: Server, database: Database
) -> None:
    token = database.token
    with server.client(token) as client, stuck_readers(server, client, token) as (each, _, _):
        print(f"daphne: {each / 1000:.0f} kB a reader that never reads a turn of {KILOBYTES} kB")
        assert each > MOST, "daphne has learnt to hold back: the warning chat.W002 may go"
