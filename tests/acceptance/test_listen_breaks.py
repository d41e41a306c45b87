"""The connection on which a process hears of commits elsewhere is killed again and again: no reader misses a chunk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.testing.client import said
from chat.testing.readers import Reader, assert_all_read_what_is_stored
from chat.testing.servers import eventually, running
from tests.acceptance.postgres_owners import shared_folder
from tests.acceptance.restartable_postgres import Cluster, running_cluster
from tests.acceptance.server import DemoServer
from tests.scale import rounds

pytestmark = [pytest.mark.proof, pytest.mark.timeout(rounds(300, 900))]

reachable = pytest.fixture(shared_folder)
KILLS = rounds(3, 50)
TURNS = 3


@pytest.fixture
def cluster(reachable: Path) -> Iterator[Cluster]:
    with running_cluster(reachable / "postgres") as cluster:
        yield cluster


@pytest.fixture
def servers(reachable: Path, cluster: Cluster) -> Iterator[tuple[DemoServer, DemoServer]]:
    # A process that did not hear looks by itself only once in ten minutes: what is read here is read by its ears.
    settings = {"DATABASE_URL": cluster.url, "CHAT_LISTEN_CHECK_SECONDS": 600}
    pair = (DemoServer(reachable, **settings), DemoServer(reachable, **settings))
    with running(pair[0]), running(pair[1]):  # the first makes the tables
        yield pair


def ears(cluster: Cluster, channel: str = "thread") -> set[int]:
    """The backends of the connections that listen on every channel; between notifications their last statement is
    the last LISTEN. ``procrastinate``: those on which workers hear of jobs.
    """
    found = cluster.query("SELECT pid FROM pg_stat_activity WHERE query ILIKE %s", f"LISTEN%{channel}%")
    return {row["pid"] for row in found}


def kill(cluster: Cluster, backends: set[int]) -> None:
    cluster.query("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", list(backends))
    assert eventually(lambda: not backends & ears(cluster))


def test_no_reader_misses_a_chunk_while_the_listening_connections_are_killed(
    cluster: Cluster, servers: tuple[DemoServer, DemoServer]
) -> None:
    processes = [process for server in servers for process in (server, server.worker) if process]
    token = servers[0].token()
    killed, slowest = 0, 0.0
    turns: list[list[Reader]] = []
    with servers[0].client(token) as owner, servers[1].client(token) as elsewhere:
        while killed < KILLS:
            live = []
            for number in range(len(turns), len(turns) + TURNS):
                first = Reader(
                    owner, "POST", "/api/chat", json=said(f"t{number}", "/tokens 200 5", f"t{number}"), resumes=True
                )
                first.until(b"w1 ")
                live.append([first, Reader(elsewhere, "GET", f"/api/chat/t{number}/stream", resumes=True)])
            for pair in live:
                pair[1].until(b"w1 ")
            while any(first.is_alive() for first, _ in live):  # up to the end: that is the news most easily missed
                begun = time.monotonic()
                assert eventually(lambda: len(ears(cluster)) == len(processes)), ears(cluster)
                slowest = max(slowest, time.monotonic() - begun)
                kill(cluster, ears(cluster) | ears(cluster, "procrastinate"))
                killed += 1
            turns += live
        statuses = {assert_all_read_what_is_stored(cluster.ask, pair).status for pair in turns}
        cuts = sum(follower.cuts for pair in turns for follower in pair)
    print(f"{killed} kills of all ears, {len(turns)} turns: {statuses}; back within {slowest:.2f} s")
    assert statuses == {"completed"}
    assert not cuts, "a reader's connection was cut"
    for process in processes:
        assert "Traceback" not in process.log.read_text()
