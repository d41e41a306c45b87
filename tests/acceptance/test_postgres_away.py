"""PostgreSQL is away when a turn ends, and stays away for longer than its run has patience."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat.protocol import sse
from chat.testing.client import said
from chat.testing.readers import Reader, assert_all_read_what_is_stored
from chat.testing.servers import eventually
from tests.acceptance.postgres_owners import shared_folder
from tests.acceptance.restartable_postgres import running_cluster
from tests.acceptance.server import DemoServer
from tests.scale import LONG

pytestmark = [
    pytest.mark.proof,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not LONG, reason="waits for half a minute; `make proof` runs it"),
]

reachable = pytest.fixture(shared_folder)
LEASE = PATIENCE = 3


def test_a_turn_whose_end_could_not_be_stored_is_recovered_and_its_readers_get_the_end(reachable: Path) -> None:
    with running_cluster(reachable / "postgres") as cluster:
        server = DemoServer(
            reachable,
            DATABASE_URL=cluster.url,
            CHAT_LEASE_SECONDS=LEASE,
            CHAT_DATABASE_PATIENCE_SECONDS=PATIENCE,
        )
        try:
            server.start()
            with server.client(server.token()) as client:
                reader = Reader(client, "POST", "/api/chat", json=said("t1", "/tokens 60 10", "m1"), resumes=True)
                reader.until(b"w20 ")
                cluster.stop("immediate")
                assert eventually(lambda: "could not be stored" in server.log.read_text(), 60)
                assert reader.is_alive(), "a reader was sent away without an end"
                assert sse.DONE not in reader.received
                cluster.start()
                assert assert_all_read_what_is_stored(cluster.ask, [reader]).status == "interrupted"
                assert b"w20 " in reader.received
                assert reader.cuts == 0
                again = client.post("/api/chat", json=said("t1", "/tokens 3 0", "m2"))
                assert again.content.endswith(sse.DONE)
        finally:
            server.stop()
        assert "Traceback" not in server.log.read_text()
