"""PostgreSQL is restarted in mid-stream: turns go on, readers come back, nothing is lost, doubled or left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from chat.testing.client import said
from chat.testing.readers import Reader, assert_all_read_what_is_stored
from chat.testing.servers import eventually, running
from tests.acceptance.postgres_owners import shared_folder
from tests.acceptance.restartable_postgres import Cluster, running_cluster
from tests.acceptance.server import DemoServer
from tests.scale import rounds

pytestmark = [pytest.mark.proof, pytest.mark.timeout(rounds(300, 1800))]

reachable = pytest.fixture(shared_folder, scope="module")
TURNS = 4
# Connections of a process: at most its pool, and the one that listens. A pool is filled up by what is asked of it at
# once and shrinks after minutes; a small one that leaks is soon empty, and one that forgets what it holds too big.
POOL = 6
# A worker's own, beside those: three to fetch jobs and to put them away, one to hear of them.
FOR_JOBS = 4


@pytest.fixture(scope="module")
def cluster(reachable: Path) -> Iterator[Cluster]:
    with running_cluster(reachable / "postgres") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def servers(reachable: Path, cluster: Cluster) -> Iterator[tuple[DemoServer, DemoServer]]:
    settings = {"DATABASE_URL": cluster.url, "DATABASE_POOL": POOL}
    pair = (DemoServer(reachable, **settings), DemoServer(reachable, **settings))
    with running(pair[0]), running(pair[1]):  # the first makes the tables
        yield pair


def one_restart(
    cluster: Cluster, clients: tuple[httpx.Client, httpx.Client], name: str, mode: str | None
) -> Counter[str]:
    """Some turns in both processes, each read in both, one more that is sent during the restart. Says how they ended,
    and what their readers met on the way.
    """
    turns = []
    for number in range(TURNS):
        here, there = clients if number % 2 else reversed(clients)
        thread = f"{name}-{number}"
        first = Reader(here, "POST", "/api/chat", json=said(thread, "/tokens 150 10", thread), resumes=True)
        first.until(b"w5 ")
        turns.append([first, Reader(there, "GET", f"/api/chat/{thread}/stream", resumes=True)])
    for followers in turns:
        followers[1].until(b"w20 ")
    if mode:
        late = f"{name}-late"
        turns.append([Reader(clients[0], "POST", "/api/chat", json=said(late, "/tokens 20 5", late), resumes=True)])
        cluster.restart(mode)
    ended = Counter(assert_all_read_what_is_stored(cluster.ask, followers).status for followers in turns)
    for follower in (follower for followers in turns for follower in followers):
        ended.update(cuts=follower.cuts)
        ended.update(follower.refusals)
    return ended


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_of_postgresql_costs_no_turn_and_no_chunk(
    cluster: Cluster, servers: tuple[DemoServer, DemoServer], mode: str
) -> None:
    token = servers[0].token()
    with servers[0].client(token) as one, servers[1].client(token) as other:
        one_restart(cluster, (one, other), f"{mode}-calm", None)
        before = cluster.connections(), cluster.connections("worker")
        ended: Counter[str] = Counter()
        for number in range(rounds(1, 20)):
            ended += one_restart(cluster, (one, other), f"{mode}-{number}", mode)
        after = cluster.connections(), cluster.connections("worker")
        print(mode, dict(ended), "connections of servers and of workers before", before, "after", after)
        assert eventually(lambda: not cluster.working()), cluster.working()
        assert after[0] <= 2 * (POOL + 1)
        assert after[1] <= 2 * (POOL + 1 + FOR_JOBS)
        assert one.get("/readyz").status_code == other.get("/readyz").status_code == 200
        doubled = cluster.query("SELECT thread_id FROM chat_turns GROUP BY 1 HAVING count(*) > 1")
        assert not doubled, "a retry made a second turn"
    for server in servers:
        assert "Traceback" not in server.log.read_text()
