"""``kill -9`` at random points with turns of every kind live: nothing that was shown is lost, and every turn ends.

A round is repeated alone by its seed: ``KILL_SEED=30017 pytest -s tests/acceptance/test_kills.py``; its last digits
name the round, those before them the lease.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from statistics import median

import httpx
import pytest

from chat.testing.client import said
from chat.testing.invariants import EndedTurn
from chat.testing.readers import Reader, assert_shown_is_stored
from chat.testing.servers import Server, running
from tests.acceptance.database import Database, Postgres
from tests.acceptance.together import together
from tests.scale import LONG, rounds

pytestmark = [pytest.mark.proof, pytest.mark.timeout(3600)]

# However late the kill comes, the first five and most often six are live.
ASKED = {
    "long": "/tokens 100000 1",
    "slow": "/tokens 100 100",
    "text": "/tokens 800 5",
    "hung": "/hang",
    "failing late": "/fail 80",
    "plain": "Hello there " * 15,
    "failing": "/fail 15",
    "quick": "/tokens 5000 0",
    "thinking": "/think",
    "tool": "/tool",
}
ENDLESS = {"long", "hung", "slow"}


@dataclass(frozen=True)
class Lane:
    """Rounds one after the other on a database of their own; the lanes run beside each other."""

    lease: int
    restarted: bool  # recovered by the killed server itself, started again; else by another one that runs
    rounds: int

    def __str__(self) -> str:
        who = "started again" if self.restarted else "with another beside it"
        return f"a server {who}, a lease of {self.lease} s"

    @property
    def seeds(self) -> list[int]:
        first = self.lease * 1000 + 500 * self.restarted
        mine = range(first, first + 500)
        if "KILL_SEED" in os.environ:
            return [seed for seed in map(int, os.environ["KILL_SEED"].split(",")) if seed in mine]
        return list(mine[: self.rounds])


LANES = [Lane(3, restarted, rounds(2, 95)) for restarted in (False, True)]
if LONG:
    LANES += [Lane(30, restarted, 5) for restarted in (False, True)]


@dataclass(frozen=True)
class Round:
    """What came of one kill."""

    live: int  # turns that were live when their process died
    seconds: float  # from the kill until every turn had ended


@pytest.fixture(scope="module")
def lanes(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[dict[Lane, Future[list[Round]]]]:
    def run(lane: Lane) -> list[Round]:
        database = postgres.database()
        beside = 0 if lane.restarted else rounds(1, 2)
        servers = [
            database.server(CHAT_LEASE_SECONDS=lane.lease, CHAT_LISTEN_CHECK_SECONDS=60) for _ in range(1 + beside)
        ]
        with running(*servers):
            return [_round(lane, seed, database, servers) for seed in lane.seeds]

    with together(request, "lane", run, at_once=len(LANES)) as cases:
        yield cases


@pytest.mark.parametrize("lane", LANES, ids=str)
def test_a_killed_server_loses_nothing_that_was_shown_and_every_turn_of_it_ends(
    lanes: dict[Lane, Future[list[Round]]], lane: Lane
) -> None:
    done = lanes[lane].result()
    assert len(done) == len(lane.seeds)
    if done:
        live, seconds = [one.live for one in done], [one.seconds for one in done]
        print(
            f"\n{lane}: {len(done)} kills, {min(live)} / {median(live)} / {max(live)} turns live, "
            f"ended after {min(seconds):.1f} / {median(seconds):.1f} / {max(seconds):.1f} s",
            flush=True,
        )
        assert max(seconds) < lane.lease + 15
        assert min(live) >= 4, "hardly anything was live"


def _round(lane: Lane, seed: int, database: Database, servers: list[Server]) -> Round:
    chance = random.Random(seed)
    victim, *others = servers
    servers.append(servers.pop(0))  # the next round kills the next one
    if not victim.alive():
        victim.start()
    names = list(ASKED)
    chance.shuffle(names)
    early = chance.random() < 0.2  # in the midst of three beginnings, with seven turns live
    sends = {f"{seed}-{name}": said(f"{seed}-{name}", ASKED[name], turn_id=f"turn-{name}") for name in names}
    survivor = others[0] if others else victim
    with victim.client(database.token) as doomed, survivor.client(database.token) as client:
        readers: dict[str, Reader] = {}
        for first, last in (0, -3), (-3, None):
            for thread in list(sends)[first:last]:
                readers[thread] = Reader(doomed, "POST", "/api/chat", json=sends[thread])
            if not early or not first:
                for reader in readers.values():
                    reader.until(b'"start"')
        watched = chance.sample(names, 2)
        followed = {
            f"{seed}-{name}": Reader(client, "GET", f"/api/chat/{seed}-{name}/stream") for name in watched if others
        }
        after = chance.uniform(0, 0.1 if early else 1.2)
        time.sleep(after)
        victim.kill()
        killed = time.monotonic()
        for reader in readers.values():
            reader.join(10)
        if lane.restarted:
            victim.start()
        resumed = [
            (reader, Reader(client, "GET", f"/api/turns/{cursor.partition('-')[0]}/stream?after={cursor}"))
            for reader in chance.sample(list(readers.values()), 3)
            if (cursor := reader.cursor) and not reader.bytes.endswith(b"[DONE]\n\n")
        ]
        while database.live():
            assert time.monotonic() - killed < lane.lease + 15, f"seed {seed}: {database.live()} turns are still live"
            time.sleep(0.05)
        seconds = time.monotonic() - killed
        turns = database.sound(f"{seed}-")
        if not lane.restarted:
            victim.launch()  # it is up again before its turn comes
        assert_shown_is_stored(turns, readers)
        _assert_ended_as_asked(turns)
        for thread, reader in followed.items():
            reader.join(30)
            if reader.status != 204:  # it came before the turn did, or after its end
                assert reader.whole() == turns[thread].stream, f"seed {seed}: {thread} in another process"
        for before, reader in resumed:
            thread = next(name for name, one in readers.items() if one is before)
            whole = before.bytes[: before.bytes.rfind(b"\n\n") + 2] + reader.whole()
            assert whole == turns[thread].stream, f"seed {seed}: {thread} resumed"
        _assert_a_retry_is_the_same_turn(client, turns, sends)
    database.sound(f"{seed}-")
    if not lane.restarted:
        victim.until_ready()
    statuses = Counter(turn.status for turn in turns.values())
    print(
        f"{lane}, seed {seed}: killed {after:.2f} s after {'three sends' if early else 'the starts'}, "
        f"{dict(statuses)}, {len(ASKED) - len(turns)} not begun, all ended after {seconds:.1f} s",
        flush=True,
    )
    return Round(statuses["interrupted"], seconds)


def _assert_ended_as_asked(turns: dict[str, EndedTurn]) -> None:
    for thread, turn in turns.items():
        name = thread.partition("-")[2]
        assert turn.status in ("interrupted", "failed" if name.startswith("failing") else "completed"), thread
        assert turn.status == "interrupted" or name not in ENDLESS, thread


def _assert_a_retry_is_the_same_turn(
    client: httpx.Client, turns: dict[str, EndedTurn], sends: dict[str, dict[str, object]]
) -> None:
    retries = {thread: Reader(client, "POST", "/api/chat", json=body) for thread, body in sends.items()}
    for thread, retry in retries.items():
        if thread in turns:
            assert retry.whole() == turns[thread].stream, f"{thread}: a retry gets another stream"
        else:  # nothing was written: now it runs
            retry.until(b'"text-delta"' if thread.endswith("hung") else b'"start"')
            client.post(f"/api/chat/{thread}/stop").raise_for_status()
            retry.whole()
