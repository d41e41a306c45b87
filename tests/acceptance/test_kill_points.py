"""A process dies, or falls asleep, exactly before and after every commit that a turn's life hangs on.

Other processes end what it leaves behind; one that wakes up late has nothing to write. Every case has its own
database and servers, and strikes with several turns live.
"""

from __future__ import annotations

import ast
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from chat.protocol import sse
from tests.acceptance.database import Database, Postgres, start_all
from tests.acceptance.preloaded import Nursery, Preloaded
from tests.acceptance.readers import Reader
from tests.acceptance.server import ROOT, eventually
from tests.acceptance.together import together
from tests.asgi_client import said
from tests.invariants import EndedTurn
from tests.scale import LONG

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]
LEASE = 2.0
WRITTEN = "SELECT h.client_id FROM chat_threads h JOIN chat_messages m ON m.thread_id = h.id"
BEGUN = "SELECT h.client_id FROM chat_threads h JOIN chat_turns t ON t.thread_id = h.id"

# The commits by name, and at which of them a case strikes: the first, and in the long form later ones as well.
IN_THE_OWNER = {"begin": (2, 1, 3), "append": (4, 1, 2, 7, 14), "finish": (1, 2)}
IN_THE_RECOVERER = {"take": (1, 2), "recover": (1, 2, 3)}
# The three turns of a case. The first two end by themselves after half a second.
ASKED = {"talk": "/tokens 60 8", "tool": "/tool", "hung": "/hang"}


@dataclass(frozen=True)
class Case:
    commit: str
    side: str
    number: int
    how: str  # kill; pause until all is over; wake: pause until somebody has taken over, but not ended, the turns

    def __str__(self) -> str:
        return f"{self.how} {self.side} {self.commit} {self.number}"

    @property
    def fault(self) -> str:
        return f"{self.commit}:{self.side}#{self.number}:{'kill' if self.how == 'kill' else 'pause'}"


CASES = [
    Case(commit, side, number, how)
    for commit, numbers in {**IN_THE_OWNER, **IN_THE_RECOVERER}.items()
    for number in (numbers if LONG else numbers[:1])
    for side in ("before", "after")
    for how in ("kill", "pause", "wake")
    if how != "wake" or commit in IN_THE_OWNER
    if (how, commit, side, number) != ("wake", "begin", "before", 1)  # nothing to inherit
]


def announced() -> set[str]:
    """The names in ``with commit("…")``, wherever chat says it."""
    return {
        node.args[0].value if isinstance(node.args[0], ast.Constant) else ast.unparse(node)
        for path in (ROOT / "chat").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "commit"
    }


def test_the_cases_go_through_every_commit_that_chat_announces() -> None:
    assert announced() == {*IN_THE_OWNER, *IN_THE_RECOVERER}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, postgres: Postgres, nursery: Nursery) -> Iterator[dict[Case, Future[str]]]:
    def run(case: Case) -> str:
        with postgres.borrowed() as database, ExitStack() as open_until_the_end:
            world = World(database, nursery, open_until_the_end)
            if case.how == "wake":
                return wake_the_owner_under_its_heir(world, case)
            return strike_the_owner(world, case) if case.commit in IN_THE_OWNER else strike_the_recoverer(world, case)

    with together(request, "case", run, at_once=6) as cases:
        yield cases


@pytest.mark.parametrize("case", CASES, ids=str)
def test_whatever_a_process_leaves_at_a_commit_others_end_and_nothing_shown_is_lost(
    outcomes: dict[Case, Future[str]], case: Case
) -> None:
    print(f"\n{case}: {outcomes[case].result()}", flush=True)


class World:
    """The database and the servers of one case."""

    def __init__(self, database: Database, nursery: Nursery, stack: ExitStack) -> None:
        self.database, self._nursery, self._stack = database, nursery, stack

    def server(self, fault: str = "", lease: float = LEASE) -> Preloaded:
        server = Preloaded(self._nursery, self.database.url, fault, CHAT_LEASE_SECONDS=lease)
        self._stack.callback(server.stop)
        return server

    def client(self, server: Preloaded) -> httpx.Client:
        return self._stack.enter_context(closing(server.client(self.database.token)))

    def send_all(self, server: Preloaded) -> dict[str, Reader]:
        """Send the three messages, each when the one before has begun, and read their streams."""
        client, readers = self.client(server), {}
        for thread, text in ASKED.items():
            readers[thread] = Reader(client, "POST", "/api/chat", json=body(thread, text))
            eventually(lambda reader=readers[thread]: b'"start"' in reader.received or struck(server), 10)
        return readers

    def until_all_have_ended(self) -> float:
        begun = time.monotonic()
        while live := self.database.live():
            assert time.monotonic() - begun < 2 * LEASE + 15, f"{live} turns are still live"
            time.sleep(0.05)
        return time.monotonic() - begun


def body(thread: str, text: str) -> dict[str, Any]:
    return said(thread, text, turn_id=f"{thread}-turn")


def struck(server: Preloaded) -> bool:
    return server.state() in ("", "Z", "X", "T")


def strike_the_owner(world: World, case: Case) -> str:
    owner, other = world.server(case.fault), world.server()
    start_all(owner, other)
    readers = world.send_all(owner)
    assert eventually(lambda: struck(owner)), f"{case.fault} was never reached"
    seconds = world.until_all_have_ended()
    retried = assert_retries_are_the_same_turns(world, other, readers)
    turns = world.database.sound()
    if case.how == "kill":
        assert_shown_is_stored(turns, readers)
    else:
        assert_a_late_riser_writes_nothing(world, owner, turns, readers)
    return f"all ended after {seconds:.1f} s, {summary(turns)}, {retried} only begun by the retry"


def wake_the_owner_under_its_heir(world: World, case: Case) -> str:
    """Here nothing but the epoch keeps the owner's writes out: the turns are streaming still, under another's."""
    # With its long lease the owner does not take its turns back by itself.
    owner, heir = world.server(case.fault, lease=5 * LEASE), world.server("recover:before#1:pause")
    start_all(owner)
    readers = world.send_all(owner)
    assert eventually(lambda: struck(owner)), f"{case.fault} was never reached"
    assert eventually(lambda: not live_leases(world.database)), "the leases did not run out"
    heir.launch()
    assert eventually(lambda: struck(heir)), "the heir has taken nothing over"
    taken = world.database.turns()
    before = world.database.rows_of(taken)
    owner.send(signal.SIGCONT)
    client = world.client(owner)
    # Whatever it still had in mind stands in front of this turn.
    Reader(client, "POST", "/api/chat", json=body("afterwards", "/tokens 3 0")).whole()
    assert world.database.rows_of(taken) == before, "it wrote into what is its heir's"
    heir.send(signal.SIGCONT)
    hung = readers["hung"]  # what was sent to the sleeper begins when it wakes up
    assert eventually(lambda: b'"text-delta"' in hung.received or sse.DONE in hung.received)
    client.post("/api/chat/hung/stop").raise_for_status()
    streams = {thread: reader.whole() for thread, reader in readers.items()}
    seconds = world.until_all_have_ended()
    turns = world.database.sound()
    assert streams == {thread: turns[thread].stream for thread in streams}
    assert "interrupted" in {turn.status for turn in turns.values()}, "the heir had nothing to end"
    return f"all ended after {seconds:.1f} s, {summary(turns)}"


def strike_the_recoverer(world: World, case: Case) -> str:
    owner, recoverer, third = world.server(), world.server(case.fault), world.server()
    start_all(owner)
    readers = world.send_all(owner)
    owner.send(signal.SIGKILL)
    for reader in readers.values():
        reader.join(10)
    assert eventually(lambda: not live_leases(world.database)), "the leases did not run out"
    recoverer.launch()  # and strikes at its first beat
    assert eventually(lambda: struck(recoverer)), f"{case.fault} was never reached"
    start_all(third)
    seconds = world.until_all_have_ended()
    assert assert_retries_are_the_same_turns(world, third, readers) == 0
    turns = world.database.sound()
    assert_shown_is_stored(turns, readers)
    if case.how == "pause":
        assert_a_late_riser_writes_nothing(world, recoverer, turns, {})
    return f"all ended after {seconds:.1f} s, {summary(turns)}"


def live_leases(database: Database) -> int:
    query = "SELECT count(*) FROM chat_turns WHERE status = 'streaming' AND clock_timestamp() - heartbeat_at < %s"
    return int(database.ask(query, timedelta(seconds=LEASE))[0][0])


def assert_retries_are_the_same_turns(world: World, server: Preloaded, readers: dict[str, Reader]) -> int:
    """Every message that was sent is sent once more: the turn there is is joined; how many there were not."""
    begun = {
        thread
        for (thread,) in world.database.ask(
            "SELECT client_id FROM chat_threads h JOIN chat_turns t ON t.thread_id = h.id"
        )
    }
    client = world.client(server)
    retries = {thread: Reader(client, "POST", "/api/chat", json=body(thread, ASKED[thread])) for thread in readers}
    for thread in retries.keys() - begun:
        assert not readers[thread].received, f"{thread} was shown, and is gone"
        if thread == "hung":
            retries[thread].until(b'"text-delta"')
            client.post(f"/api/chat/{thread}/stop").raise_for_status()
    streams = {thread: retry.whole() for thread, retry in retries.items()}
    assert streams == {thread: turn.stream for thread, turn in world.database.sound().items()}
    return len(retries.keys() - begun)


def assert_shown_is_stored(turns: dict[str, EndedTurn], readers: dict[str, Reader]) -> None:
    for thread, reader in readers.items():
        reader.join(10)
        assert turns[thread].stream.startswith(reader.bytes), f"{thread}: what was shown is not what is stored"


def assert_a_late_riser_writes_nothing(
    world: World, sleeper: Preloaded, turns: dict[str, EndedTurn], readers: dict[str, Reader]
) -> None:
    """Not one row is written or rewritten when it wakes up; its readers get what is stored; and it is healthy."""
    ended = world.database.turns()
    before = world.database.rows_of(ended)
    sleeper.send(signal.SIGCONT)
    for thread, reader in readers.items():
        assert reader.whole() == turns[thread].stream, f"{thread}: the reader of the sleeper is told something else"
    assert (world.database.turns(), world.database.rows_of(ended)) == (ended, before)
    # Whatever it still had in mind stands in front of this turn.
    afterwards = Reader(world.client(sleeper), "POST", "/api/chat", json=body("afterwards", "/tokens 3 0"))
    afterwards.whole()
    assert world.database.rows_of(ended) == before
    assert world.database.sound()["afterwards"].status == "completed"


def summary(turns: dict[str, EndedTurn]) -> str:
    return ", ".join(f"{thread} {turn.status} after {len(turn.log)} chunks" for thread, turn in turns.items())
