"""PostgreSQL takes no writes, no connections, or is away when a turn ends, for longer than its run has patience."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from chat.protocol import sse
from chat.testing.client import said
from chat.testing.readers import Reader, assert_all_read_what_is_stored
from chat.testing.servers import eventually, running
from tests.acceptance.postgres_owners import shared_folder
from tests.acceptance.restartable_postgres import Cluster, running_cluster
from tests.acceptance.server import DemoServer
from tests.scale import LONG

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]
long_only = pytest.mark.skipif(not LONG, reason="waits for half a minute; `make proof` runs it")

reachable = pytest.fixture(shared_folder)
LEASE = PATIENCE = 3
CONNECTIONS = 20


@pytest.fixture
def cluster(reachable: Path) -> Iterator[Cluster]:
    with running_cluster(reachable / "postgres", f"max_connections={CONNECTIONS}") as cluster:
        yield cluster


@contextmanager
def in_mid_answer(
    cluster: Cluster, reachable: Path, text: str = "/tokens 9000 10", **settings: object
) -> Iterator[tuple[DemoServer, Reader]]:
    """A server with a reader that is in the middle of a turn; afterwards the next turn is one like any other."""
    server = DemoServer(reachable, DATABASE_URL=cluster.url, DATABASE_POOL=6, **settings)
    with running(server), client_of(server) as client:
        client.post("/api/chat", json=said("before", "/tokens 3 0", "m0")).raise_for_status()
        reader = Reader(client, "POST", "/api/chat", json=said("t1", text, "m1"))
        reader.until(b"w20 ")
        yield server, reader
        again = client.post("/api/chat", json=said("t1", "/tokens 3 0", "m2"))
        assert again.content.endswith(sse.DONE)
    assert "Traceback" not in told_by(server)


def client_of(server: DemoServer) -> httpx.Client:
    return server.client(server.token())


def told_by(server: DemoServer) -> str:
    return "".join(one.log.read_text() for one in (server, server.worker) if one)


def assert_waits_for_the_database(server: DemoServer, client: httpx.Client, reader: Reader) -> None:
    """Its log is not given up, and a send is told that nothing was written."""
    assert eventually(lambda: "waits for the database" in told_by(server), 30)
    refused = client.post("/api/chat", json=said("t2", "/tokens 3 0", "m1"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable"), refused.text
    assert reader.is_alive(), "a reader was sent away without an end"
    assert sse.DONE not in reader.received


def assert_goes_on(client: httpx.Client, cluster: Cluster, reader: Reader) -> None:
    """Nothing was lost: the turn says more, until it is stopped."""
    before = len(reader.bytes)
    assert eventually(lambda: len(reader.bytes) > before, 60)
    client.post("/api/chat/t1/stop").raise_for_status()
    assert assert_all_read_what_is_stored(cluster.ask, [reader]).status == "stopped"


def test_while_postgresql_takes_no_writes_turns_wait_and_what_there_is_can_be_read(
    cluster: Cluster, reachable: Path
) -> None:
    """As after a failover, which leaves the old primary read-only for a while."""
    with in_mid_answer(cluster, reachable) as (server, reader), client_of(server) as client:
        cluster.configure("SET default_transaction_read_only = on")
        assert_waits_for_the_database(server, client, reader)
        assert len(client.get("/api/threads/before/messages/").raise_for_status().json()["results"]) == 2
        cluster.configure("RESET default_transaction_read_only")
        assert_goes_on(client, cluster, reader)


@long_only
def test_while_postgresql_takes_no_more_connections_turns_wait(cluster: Cluster, reachable: Path) -> None:
    with in_mid_answer(cluster, reachable) as (server, reader), client_of(server) as client:
        taken = all_connections(cluster)
        assert_waits_for_the_database(server, client, reader)
        for one in taken:
            one.close()
        assert_goes_on(client, cluster, reader)


def all_connections(cluster: Cluster) -> list[psycopg.Connection]:
    """Every connection that there is to be had: others have none."""
    taken = [psycopg.connect(cluster.url, autocommit=True)]
    while len(taken) < CONNECTIONS:
        try:
            taken.append(psycopg.connect(cluster.url, autocommit=True))
        except psycopg.OperationalError:
            ours = [one.info.backend_pid for one in taken]
            taken[0].execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> ALL (%s)",
                [ours],
            )
    return taken


@long_only
def test_a_turn_whose_end_could_not_be_stored_is_recovered_and_its_readers_get_the_end(
    cluster: Cluster, reachable: Path
) -> None:
    settings = {"CHAT_LEASE_SECONDS": LEASE, "CHAT_DATABASE_PATIENCE_SECONDS": PATIENCE}
    with in_mid_answer(cluster, reachable, "/tokens 60 10", **settings) as (server, reader):
        cluster.stop("immediate")
        assert eventually(lambda: "could not be stored" in told_by(server), 60)
        assert reader.is_alive(), "a reader was sent away without an end"
        assert sse.DONE not in reader.received
        cluster.start()
        assert assert_all_read_what_is_stored(cluster.ask, [reader]).status == "interrupted"
        assert b"w20 " in reader.received
        assert reader.cuts == 0
