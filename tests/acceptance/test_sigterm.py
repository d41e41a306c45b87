"""SIGTERM with twenty live turns, on each server: all of them stored, all readers told, the process gone in time."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future

import httpx
import pytest

from chat.testing.client import said
from chat.testing.invariants import EndedTurn
from chat.testing.readers import Reader
from chat.testing.servers import eventually, running
from tests.acceptance.database import Database, Postgres
from tests.acceptance.server import DemoServer
from tests.acceptance.together import together
from tests.acceptance.wire import request
from tests.scale import LONG, rounds

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]
KINDS = ["granian", "uvicorn", "daphne"]  # the first is the one that would wait for ever
DRAIN = 1
# Seconds behind the drain until the process is gone: with readers that read, and with one that never does.
IN_TIME, WITH_A_STUCK_READER = 5.0, 10.0
# None of them ends by itself in the time of the test, but for the last two: these may, within the grace.
LIVE = ["/hang"] * 8 + ["/tokens 100000 5"] * 8 + ["/tokens 100000 50"] * 2 + ["/tokens 60 20"] * 2

Seconds = dict[str, Future[list[float]]]


@pytest.fixture(scope="module")
def seconds_to_exit(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Seconds]:
    def run(case: str) -> list[float]:
        kind, _, reader = case.partition(" ")
        database = postgres.database()
        server = database.server(kind, CHAT_DRAIN_SECONDS=DRAIN)
        with running(server):
            return with_a_stuck_reader(server, database) if reader else with_readers(server, database)

    with together(request, "case", run, at_once=3) as cases:
        yield cases


@pytest.mark.parametrize("case", KINDS)
def test_a_server_that_is_terminated_ends_twenty_live_turns_and_tells_their_readers(
    seconds_to_exit: Seconds, case: str
) -> None:
    seconds = seconds_to_exit[case].result()
    print(f"\n{case}: gone {min(seconds):.1f} to {max(seconds):.1f} s after SIGTERM", flush=True)
    assert max(seconds) < DRAIN + IN_TIME


@pytest.mark.parametrize("case", [f"{kind} with a reader that never reads" for kind in (KINDS if LONG else KINDS[:1])])
def test_a_reader_that_never_reads_keeps_no_server_from_ending(seconds_to_exit: Seconds, case: str) -> None:
    seconds = seconds_to_exit[case].result()
    print(f"\n{case}: gone {seconds[0]:.1f} s after SIGTERM", flush=True)
    assert seconds[0] < DRAIN + WITH_A_STUCK_READER


def with_readers(server: DemoServer, database: Database) -> list[float]:
    times = []
    for number in range(rounds(1, 10)):
        if not server.alive():
            server.start()
        with server.client(database.token) as client:
            readers = twenty_live_turns(client, f"r{number}", comes_back=server.cuts_readers_off)
            times.append(until_exit(server))
            assert not database.live(), "a turn was left to whoever comes next"
            await_readers(server, readers)
        assert_all_were_told(database.sound(f"r{number}-"), readers)
    return times


def with_a_stuck_reader(server: DemoServer, database: Database) -> list[float]:
    with server.client(database.token) as client, socket.socket() as stuck:
        send_and_never_read(stuck, server, database, "/tokens 60000 0")
        readers = twenty_live_turns(client, "beside", comes_back=server.cuts_readers_off)
        assert eventually(lambda: shown(database, "stuck") > 50_000, 30), "the turn waits for its reader"
        seconds = until_exit(server)
        await_readers(server, readers)
    turns = database.sound()
    assert turns.pop("stuck").status in ("completed", "interrupted")
    assert_all_were_told(turns, readers)
    return [seconds]


def twenty_live_turns(client: httpx.Client, name: str, *, comes_back: bool) -> list[Reader]:
    readers = [
        Reader(client, "POST", "/api/chat", json=said(f"{name}-{number}", what), resumes=comes_back)
        for number, what in enumerate(LIVE)
    ]
    for reader in readers:
        reader.until(b'"text-delta"')
    return readers


def await_readers(server: DemoServer, readers: list[Reader]) -> None:
    """Those that were cut off have come back to the next server: they were told of all ends by it."""
    if server.cuts_readers_off:
        server.start()
    for reader in readers:
        reader.join(90 if server.cuts_readers_off else 5)


def until_exit(server: DemoServer) -> float:
    """Seconds from SIGTERM to the end of the process."""
    assert server.process
    begun = time.monotonic()
    server.send(signal.SIGTERM)
    server.wait(60)
    return time.monotonic() - begun


def assert_all_were_told(turns: dict[str, EndedTurn], readers: list[Reader]) -> None:
    """Every turn has ended, by nobody else's doing (there is no other process), and its reader has all of it."""
    assert len(turns) == len(LIVE)
    for turn in turns.values():
        number = int(turn.thread.rpartition("-")[2])
        assert readers[number].bytes == turn.stream, f"{turn.thread}: the reader was cut off"
        assert turn.status == "interrupted" or LIVE[number] == "/tokens 60 20", turn.thread


def send_and_never_read(client: socket.socket, server: DemoServer, database: Database, what: str) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.port))
    client.sendall(request("POST", "/api/chat", database.token, said("stuck", what)))


def shown(database: Database, thread: str) -> int:
    """How many chunks of a thread's turn are in the log."""
    return int(
        database.ask(
            "SELECT coalesce(max(e.last_seq), 0) FROM chat_stream_events e JOIN chat_turns t ON t.id = e.turn_id"
            " JOIN chat_threads h ON h.id = t.thread_id WHERE h.client_id = %s",
            thread,
        )[0][0]
    )
