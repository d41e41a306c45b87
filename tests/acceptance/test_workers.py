"""``CHAT_RUNNER=worker``: web servers begin turns and read them, workers run them, and either may go without the other.

The whole suite runs so, too (``make test-worker``); here is what only happens with workers, and a little of all else.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from chat.protocol import sse
from chat.testing.client import said
from chat.testing.invariants import rows_of
from chat.testing.readers import Reader
from chat.testing.servers import eventually, start_all
from tests.acceptance.database import Database, Postgres
from tests.acceptance.preloaded import Nursery, Preloaded
from tests.acceptance.together import together

pytestmark = pytest.mark.timeout(300)
LEASE = 2
# Nothing of what is read here was found by looking after it now and then: it was told.
SETTINGS = {"CHAT_LISTEN_CHECK_SECONDS": 60, "CHAT_DRAIN_SECONDS": 1}


@pytest.fixture(scope="module")
def nursery(reachable_by_all: Path) -> Iterator[Nursery]:
    """One whose servers have workers, and whose workers have Procrastinate."""
    nursery = Nursery(reachable_by_all, CHAT_RUNNER="worker")
    yield nursery
    nursery.close()


class Tiers:
    """Web servers and workers on one database, which end with the test."""

    def __init__(self, database: Database, nursery: Nursery, stack: ExitStack) -> None:
        self.database, self._nursery, self._stack = database, nursery, stack

    def web(self, **settings: object) -> Preloaded:
        return self._made(Preloaded(self._nursery, self.database.url, **(self._settings() | settings)))

    def worker(self, fault: str = "", concurrency: int = 50, **settings: object) -> Preloaded:
        return self._made(
            Preloaded(self._nursery, self.database.url, fault, concurrency, **(self._settings() | settings))
        )

    def send(self, web: Preloaded, thread: str, text: str, **more: object) -> Reader:
        return self.read(web, "POST", "/api/chat", json=said(thread, text, **more))

    def read(self, web: Preloaded, method: str, path: str, **more: object) -> Reader:
        return Reader(self.client(web), method, path, **more)

    def client(self, web: Preloaded) -> httpx.Client:
        return self._stack.enter_context(web.client(self.database.token))

    def _settings(self) -> dict[str, object]:
        return {**SETTINGS, "CHAT_RUNNER": "worker", "CHAT_LEASE_SECONDS": LEASE}

    def _made(self, process: Preloaded) -> Preloaded:
        self._stack.callback(process.stop)
        return process


@pytest.fixture
def tiers(database: Database, nursery: Nursery) -> Iterator[Tiers]:
    with ExitStack() as stack:
        yield Tiers(database, nursery, stack)


def test_a_turn_that_a_worker_runs_is_read_resumed_and_stopped_in_any_web_server(tiers: Tiers) -> None:
    here, there, worker = tiers.web(), tiers.web(), tiers.worker()
    start_all(here, there, worker)
    first = tiers.send(here, "t1", "/tokens 100 10")
    first.until(b"w20 ")
    cursor = first.events[15].cursor
    live = tiers.read(there, "GET", "/api/chat/t1/stream")
    later = tiers.read(there, "GET", f"/api/chat/t1/stream?after={cursor}")
    whole = first.whole()
    assert b'"data-thread-title"' in whole, "what only the process knows that began it"
    assert live.whole() == whole
    assert later.whole() == whole[whole.index(f"id: {first.events[16].cursor}\n".encode()) :]

    hung = tiers.send(here, "t2", "/hang")
    hung.until(b"Hanging")
    asked = time.monotonic()
    assert tiers.client(there).post("/api/chat/t2/stop").status_code == 202
    hung.whole()
    assert time.monotonic() - asked < LEASE / 3, "the worker was not told, it looked"
    turns = tiers.database.sound()
    assert {name: turn.status for name, turn in turns.items()} == {"t1": "completed", "t2": "stopped"}
    assert {name: turn.stream for name, turn in turns.items()} == {"t1": whole, "t2": hung.bytes}
    assert eventually(lambda: not tiers.database.ask("SELECT FROM procrastinate_jobs")), "a job is left"


def test_what_waits_for_a_person_or_for_another_turn_goes_on_in_a_worker(tiers: Tiers) -> None:
    web = tiers.web()
    start_all(web, tiers.worker())
    client = tiers.client(web)
    asked = tiers.send(web, "t1", "/approve")
    asked.whole()
    queued = tiers.send(web, "t1", "/tokens 3 0", turn_id="queued", on_busy="enqueue")
    assert eventually(lambda: client.get("/api/threads/t1/state/").json()["queued"])
    (waiting,) = tiers.database.ask("SELECT id FROM chat_turns WHERE status = 'awaiting_approval'")
    (call,) = tiers.database.ask("SELECT tool_call_id FROM chat_tool_approvals")
    decision = {"decisions": [{"tool_call_id": call[0], "approved": True}]}
    assert client.post(f"/api/turns/{waiting[0]}/approvals/", json=decision).status_code == 200
    assert b"w3 " in queued.whole()
    statuses = tiers.database.ask("SELECT status, owner <> '' FROM chat_turns ORDER BY id")
    assert statuses == [("completed", True), ("completed", True)]


def test_a_killed_worker_loses_nothing_that_was_shown(tiers: Tiers) -> None:
    web, doomed, heir = tiers.web(), tiers.worker(), tiers.worker()
    start_all(web, doomed)
    readers = {f"t{number}": tiers.send(web, f"t{number}", "/tokens 2000 5") for number in range(4)}
    for reader in readers.values():
        reader.until(b"w40 ")
    start_all(heir)
    doomed.send(signal.SIGKILL)
    streams = {name: reader.whole(LEASE + 15) for name, reader in readers.items()}
    turns = tiers.database.sound()
    assert {turn.status for turn in turns.values()} == {"interrupted"}
    assert {name: turn.stream for name, turn in turns.items()} == streams
    assert b"w3 " in tiers.send(web, "afterwards", "/tokens 3 0").whole()


def cursor_of(shown: bytes) -> str:
    """Behind the last event of what was shown."""
    return [event.cursor for event in sse.Parser().feed(shown) if event.cursor][-1]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "deployed anew"])
def test_a_turn_goes_on_when_its_web_server_is(tiers: Tiers, how: signal.Signals) -> None:
    before, after = tiers.web(), tiers.web()
    start_all(before, tiers.worker())
    reader = tiers.send(before, "t1", "/tokens 300 10", turn_id="turn")
    reader.until(b"w40 ")
    before.send(how)
    if how == signal.SIGKILL:
        reader.join(15)
    start_all(after)
    shown = reader.bytes  # as it is now: what is terminated may still be telling, or has told all by now
    shown = shown[: shown.rfind(b"\n\n") + 2].removesuffix(sse.DONE)
    rest = tiers.read(after, "GET", f"/api/chat/t1/stream?after={cursor_of(shown)}").whole()
    (turn,) = tiers.database.sound().values()
    assert (turn.status, shown + rest) == ("completed", turn.stream)
    assert len(turn.text.split()) == 300
    if how == signal.SIGTERM:
        assert reader.whole() == turn.stream, "what it reads ends within the server's grace"
    assert tiers.send(after, "t1", "/tokens 300 10", turn_id="turn").whole() == turn.stream, "a retry"


def test_a_worker_that_is_terminated_ends_its_turns_and_the_next_one_takes_what_waits(tiers: Tiers) -> None:
    web = tiers.web(CHAT_LEASE_SECONDS=30)
    worker, following = (tiers.worker(CHAT_LEASE_SECONDS=30) for _ in range(2))
    start_all(web, worker)
    hung = [tiers.send(web, f"hung-{number}", "/hang") for number in range(8)]
    short = tiers.send(web, "short", "/tokens 20 25")
    for reader in (*hung, short):
        reader.until(b"text-delta")
    told = time.monotonic()
    worker.send(signal.SIGTERM)
    late = tiers.send(web, "late", "/tokens 3 0")
    for reader in (*hung, short):
        reader.whole(10)
    assert eventually(lambda: not worker.alive(), 10)
    assert time.monotonic() - told < 1 + 5, "its drain is of a second"
    assert not late.received.count(b"text-delta")
    start_all(following)
    late.whole()
    turns = tiers.database.sound()
    assert {turn.thread for turn in turns.values() if turn.status == "completed"} == {"short", "late"}
    assert {turn.status for name, turn in turns.items() if "hung" in name} == {"interrupted"}


def test_a_turn_waits_for_a_place_for_longer_than_a_lease_as_long_as_a_worker_lives(tiers: Tiers) -> None:
    web, worker = tiers.web(), tiers.worker(concurrency=1)
    start_all(web, worker)
    hung = tiers.send(web, "hung", "/hang")
    hung.until(b"Hanging")
    waits = tiers.send(web, "waits", "/tokens 3 0")
    lost = tiers.send(web, "lost", "/tokens 3 0")
    assert eventually(lambda: (waits.status, lost.status) == (200, 200))
    tiers.database.ask(
        "DELETE FROM procrastinate_jobs j USING chat_turns t JOIN chat_threads h ON h.id = t.thread_id"
        " WHERE h.client_id = 'lost' AND (j.args ->> 'turn')::bigint = t.id RETURNING 1"
    )
    lost.whole(LEASE + 15)
    time.sleep(LEASE)
    assert not waits.received.count(b"text-delta")
    assert tiers.client(web).post("/api/chat/hung/stop").status_code == 202
    waits.whole()
    statuses = {name: turn.status for name, turn in tiers.database.sound().items()}
    assert statuses == {"hung": "stopped", "waits": "completed", "lost": "interrupted"}


CLAIMS = [f"claim:{side}#1:{how}" for side in ("before", "after") for how in ("kill", "pause")]


@pytest.fixture(scope="module")
def struck(request: pytest.FixtureRequest, postgres: Postgres, nursery: Nursery) -> Iterator[dict[str, Future[str]]]:
    def run(fault: str) -> str:
        with postgres.borrowed() as database, ExitStack() as stack:
            tiers = Tiers(database, nursery, stack)
            web, worker, other = tiers.web(), tiers.worker(fault), tiers.worker()
            start_all(web, worker)
            reader = tiers.send(web, "t1", "/tokens 5 0")
            assert eventually(worker.struck), f"{fault} was never reached"
            start_all(other)
            whole = reader.whole(LEASE + 15)
            rows = rows_of(database.turns(), database.ask)
            if fault.endswith("pause"):
                worker.send(signal.SIGCONT)
                assert tiers.send(web, "t2", "/tokens 3 0").whole()
                time.sleep(0.5)
                assert rows == rows_of(database.turns()[:1], database.ask), "it wrote when it woke up"
            turn = database.sound()["t1"]
            assert turn.stream == whole
            return turn.status

    with together(request, "fault", run, at_once=4) as cases:
        yield cases


@pytest.mark.parametrize("fault", CLAIMS)
def test_a_worker_that_dies_or_sleeps_at_its_claim_leaves_a_turn_that_ends(
    struck: dict[str, Future[str]], fault: str
) -> None:
    assert struck[fault].result() == "interrupted"
