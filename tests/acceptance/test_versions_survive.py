"""Another answer, or an edited question, that fails, is stopped, dies with its process or loses its reader at any
moment: the old answer is never lost, and there are never two current ones.

A wave is repeated alone by its seed: ``VERSION_SEED=3 pytest -s tests/acceptance/test_versions_survive.py``.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest

from chat.testing.client import said
from chat.testing.invariants import assert_database_is_sound
from chat.testing.servers import eventually, start_all
from tests.acceptance.database import Database, Postgres
from tests.acceptance.fateful_agent import PAUSE, TOKENS
from tests.acceptance.preloaded import Nursery, Preloaded
from tests.acceptance.together import together
from tests.acceptance.wire import Exchange, request
from tests.scale import rounds

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1800)]

WAVE = 5  # threads at once, each with a moment of its own
LEASE = 1.0
LONGEST = TOKENS * PAUSE * 1.6  # seconds after a send in which its moment lies: some come when all is over
AGENT = "tests.acceptance.fateful_agent.agent"
# What must be so at every moment, for threads whose first answer is complete.
ONE_OF_EACH = """
    SELECT h.client_id, count(*) FILTER (WHERE m.role = 'user'), count(*) FILTER (WHERE m.role = 'assistant')
      FROM chat_threads h
      JOIN chat_messages m ON m.thread_id = h.id AND m.is_current AND m.deleted_at IS NULL
     WHERE h.client_id = ANY (%s)
     GROUP BY h.id
    HAVING count(*) FILTER (WHERE m.role = 'user') <> 1 OR count(*) FILTER (WHERE m.role = 'assistant') <> 1"""
NEW_TURN = """
    SELECT t.status, EXISTS (SELECT FROM jsonb_array_elements(m.parts) p (part) WHERE part ->> 'type' = 'text')
      FROM chat_turns t JOIN chat_threads h ON h.id = t.thread_id
      JOIN chat_messages m ON m.thread_id = h.id AND m.turn_id = t.turn_id AND m.role = 'assistant'
     WHERE h.client_id = %s AND t.turn_id NOT LIKE 'old%%'"""


@dataclass(frozen=True)
class Case:
    how: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb}, {self.how}"


CASES = [Case(how, verb) for how in ("failure", "stop", "crash", "disconnect") for verb in ("regenerate", "edit")]


@dataclass
class Tried:
    """One thread of a wave: what it said before, and when what happens to it."""

    name: str
    before: list[dict[str, Any]]
    at: float = 0.0
    moment: float = 0.0
    fate: str = ""
    exchange: Exchange | None = field(default=None)

    def body(self, verb: str) -> dict[str, Any]:
        asked = self.before[0]["id"]
        if verb == "edit":
            return {**said(self.name, "Hello again", "m2"), "messageId": asked, "turn_id": f"new{self.fate}"}
        return {
            **said(self.name, "Hello", asked, turn_id=f"new{self.fate}"),
            "trigger": "regenerate-message",
        }


class World:
    """A database, a server that lives as long as the case, and the API by it."""

    def __init__(self, database: Database, nursery: Nursery, stack: ExitStack) -> None:
        self.database, self._nursery, self._stack = database, nursery, stack
        self.server = self.started()
        self.api: httpx.Client = stack.enter_context(self.server.client(database.token))

    def started(self, fault: str = "") -> Preloaded:
        server = Preloaded(self._nursery, self.database.url, fault, CHAT_AGENT=AGENT, CHAT_LEASE_SECONDS=LEASE)
        self._stack.callback(server.stop)
        start_all(server)
        return server

    def answered(self, name: str) -> Tried:
        """A thread with one question and its answer."""
        self.api.post("/api/chat", json=said(name, "Hello", "m1", turn_id="old")).raise_for_status()
        before = self.messages(name)
        assert [message["role"] for message in before] == ["user", "assistant"]
        return Tried(name, before)

    def messages(self, name: str) -> list[dict[str, Any]]:
        found = self.api.get(f"/api/threads/{name}/messages/").raise_for_status().json()
        results: list[dict[str, Any]] = found["results"]
        return results


@contextmanager
def watched(database: Database, names: list[str]) -> Iterator[list[Any]]:
    """What is broken in these threads at any moment of the block, looked at again and again."""
    seen: list[Any] = []
    looking, over = threading.Event(), threading.Event()

    def look() -> None:
        with psycopg.connect(database.url, autocommit=True) as connection:
            while not over.wait(0.003):
                seen.extend(connection.execute(ONE_OF_EACH, [names]).fetchall())
                looking.set()

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        assert looking.wait(30)
        yield seen
    finally:
        over.set()
        watcher.join(10)


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, postgres: Postgres, nursery: Nursery) -> Iterator[dict[Case, Future[str]]]:
    def run(case: Case) -> str:
        found: Counter[str] = Counter()
        with postgres.borrowed() as database, ExitStack() as stack:
            world = World(database, nursery, stack)
            for seed in seeds():
                found += wave(world, case, seed)
            assert_database_is_sound(database.ask)
        return ", ".join(f"{count} {what}" for what, count in sorted(found.items()))

    with together(request, "case", run, at_once=4) as cases:
        yield cases


def seeds() -> list[int]:
    if "VERSION_SEED" in os.environ:
        return [int(os.environ["VERSION_SEED"])]
    return list(range(rounds(2, 50 // WAVE)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_old_answer_is_never_lost_and_one_is_current_at_every_moment(
    outcomes: dict[Case, Future[str]], case: Case
) -> None:
    print(f"\n{case}: {outcomes[case].result()}", flush=True)


def wave(world: World, case: Case, seed: int) -> Counter[str]:
    """Some threads at once; returns how their new turns ended, and whose answer is current."""
    chance = random.Random(f"{case} {seed}")
    tried = [world.answered(f"{case.how}-{case.verb}-{seed}-{number}") for number in range(WAVE)]
    for one in tried:
        one.moment = chance.uniform(0, LONGEST)
        one.at = LONGEST - one.moment if case.how == "crash" else chance.uniform(0, 0.05)
        if case.how == "failure":
            one.fate = f"-fails-{chance.randint(0, TOKENS)}"
    server = world.server
    if case.how == "crash":
        server = world.started(fault_of(chance) if seed % 3 == 1 else "")
    with watched(world.database, [one.name for one in tried]) as broken:
        play(world, case, server, tried)
        assert eventually(lambda: not world.database.live(), LEASE + 20), "turns that do not end"
    assert not broken, f"seed {seed}: {broken[:5]}"
    found: Counter[str] = Counter()
    for one in tried:
        found[judged(world, case, one)] += 1
    return found


def fault_of(chance: random.Random) -> str:
    """A commit of the doomed server, which has none but those of the new turns."""
    commit = chance.choice(["begin", "append", "finish", "finish"])
    return f"{commit}:{chance.choice(['before', 'after'])}#{chance.randint(1, 3)}:kill"


def play(world: World, case: Case, server: Preloaded, tried: list[Tried]) -> None:
    """Send everything at its time, and let happen what happens at its moment."""
    steps = [(one.at, 0, one) for one in tried]
    if case.how in ("stop", "disconnect"):
        steps += [(one.at + one.moment, 1, one) for one in tried]
    begun = time.monotonic()
    for moment, is_over, one in sorted(steps, key=lambda step: step[:2]):
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        if not is_over:
            try:
                one.exchange = Exchange(
                    server.port, request("POST", "/api/chat", world.database.token, one.body(case.verb))
                )
            except OSError:
                assert case.how == "crash", "a server that is up takes connections"
        elif case.how == "stop":
            world.api.post(f"/api/chat/{one.name}/stop").raise_for_status()
        else:
            assert one.exchange
            one.exchange.hang_up()
    if case.how == "crash":
        time.sleep(max(0.0, begun + LONGEST - time.monotonic()))
        server.stop()  # kill -9, where it has not killed itself
    elif case.how != "disconnect":
        for one in tried:
            assert one.exchange
            assert one.exchange.to_the_end(30).status == 200
    for one in tried:
        if one.exchange and case.how != "disconnect":
            one.exchange.hang_up()


def judged(world: World, case: Case, one: Tried) -> str:
    """Whose answer is current, as it must be; and what is not, is there and can be current again."""
    turns: list[Any] | None = None
    while turns is None or turns != world.database.ask(NEW_TURN, one.name) or world.database.live():
        # Who has hung up may be heard only now: a page has not the answer that is about to be replaced.
        turns = world.database.ask(NEW_TURN, one.name)
        now = world.messages(one.name)
    status, spoke = turns[0] if turns else ("never begun", False)
    is_better = status == "completed" or (status == "stopped" and spoke)
    if not (bool(turns) if case.verb == "edit" else is_better):
        assert now == one.before, f"{one}: {status}"
        return f"{status}: the old one"
    asked, answered = one.before
    assert now[1]["id"] != answered["id"], f"{one}: {status}"
    assert (now[0]["id"] == asked["id"]) == (case.verb == "regenerate")
    assert "old" not in str(now[1]["parts"])
    for was, versions in ((asked, 2 if case.verb == "edit" else 1), (answered, 1 if case.verb == "edit" else 2)):
        found = world.api.get(f"/api/messages/{was['id']}/versions/").raise_for_status().json()["results"]
        assert len(found) == versions
        assert (found[0]["id"], found[0]["parts"]) == (was["id"], was["parts"])
    # The place of an edited question is the question's; that of another answer the answer's.
    back = asked if case.verb == "edit" else answered
    world.api.post(f"/api/messages/{back['id']}/restore/", json={}).raise_for_status()
    assert world.messages(one.name) == one.before
    return f"{status}: the new one"
