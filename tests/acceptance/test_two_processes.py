"""Two server processes on one database: nothing is sticky, and one ends what the other leaves behind."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from chat.protocol.fold import fold
from chat.testing.client import said
from chat.testing.readers import Reader
from chat.testing.servers import eventually, running
from tests.acceptance.database import Database
from tests.acceptance.preloaded import Nursery, Preloaded

pytestmark = pytest.mark.timeout(300)
LEASE = 3


@pytest.fixture
def servers(database: Database, nursery: Nursery) -> Iterator[tuple[Preloaded, Preloaded]]:
    settings = {"CHAT_LEASE_SECONDS": LEASE, "CHAT_LISTEN_CHECK_SECONDS": 60}
    pair = Preloaded(nursery, database.url, **settings), Preloaded(nursery, database.url, **settings)
    with running(*pair):
        yield pair


def answer_of(client: httpx.Client, thread: str) -> dict[str, Any] | None:
    """The last message of a thread, if it is an answer."""
    results = client.get(f"/api/threads/{thread}/messages/").raise_for_status().json()["results"]
    return results[-1] if results and results[-1]["role"] == "assistant" else None


def test_a_turn_of_one_process_is_read_byte_for_byte_in_another(
    servers: tuple[Preloaded, Preloaded], database: Database
) -> None:
    with servers[0].client(database.token) as here, servers[1].client(database.token) as there:
        first = Reader(here, "POST", "/api/chat", json=said("t1", "/tokens 100 10"))
        first.until(b"w20 ")
        live = Reader(there, "GET", "/api/chat/t1/stream")
        cursor = first.events[20].cursor
        later = Reader(there, "GET", f"/api/chat/t1/stream?after={cursor}")
        whole = first.whole()
        assert live.whole() == whole
        assert later.whole() == whole[whole.index(f"id: {first.events[21].cursor}\n".encode()) :]

        turn = cursor.partition("-")[0]
        after = Reader(there, "GET", f"/api/turns/{turn}/stream")
        assert after.whole() == whole


def test_a_stop_in_one_process_ends_the_turn_of_another(
    servers: tuple[Preloaded, Preloaded], database: Database
) -> None:
    with servers[0].client(database.token) as here, servers[1].client(database.token) as there:
        reader = Reader(here, "POST", "/api/chat", json=said("t1", "/hang"))
        reader.until(b"Hanging")
        begun = time.monotonic()
        assert there.post("/api/chat/t1/stop").status_code == 202
        reader.whole()
        assert time.monotonic() - begun < LEASE / 3, "told by the row's poll, not by the NOTIFY"
        answer = answer_of(there, "t1")
        assert answer
        assert answer["metadata"]["status"] == "stopped"
        assert answer["parts"] == fold(reader.chunks)


def test_a_killed_process_loses_nothing_that_was_shown(
    servers: tuple[Preloaded, Preloaded], database: Database
) -> None:
    with servers[0].client(database.token) as here, servers[1].client(database.token) as there:
        readers = [Reader(here, "POST", "/api/chat", json=said(f"t{number}", "/tokens 2000 5")) for number in range(4)]
        for reader in readers:
            reader.until(b"w40 ")
        elsewhere = Reader(there, "GET", "/api/chat/t0/stream")
        elsewhere.until(b"w40 ")
        servers[0].send(signal.SIGKILL)
        for number, reader in enumerate(readers):
            assert eventually(lambda n=number: answer_of(there, f"t{n}"), LEASE + 15)
            answer = answer_of(there, f"t{number}")
            assert answer
            assert answer["metadata"]["status"] == "interrupted"
            turn = reader.events[0].cursor.partition("-")[0]  # type: ignore[union-attr]
            reread = Reader(there, "GET", f"/api/turns/{turn}/stream")
            reread.whole()
            log = reread.chunks
            assert answer["parts"] == fold(log)
            assert log[: len(reader.chunks)] == reader.chunks, "a chunk that was shown is not in the log"
        elsewhere.whole()
        assert elsewhere.chunks[-1]["type"] == "abort"
        again = there.post("/api/chat", json=said("t0", "/tokens 3 0"))
        assert again.status_code == 200


def test_a_process_that_slept_writes_nothing_when_it_wakes_up(
    servers: tuple[Preloaded, Preloaded], database: Database
) -> None:
    with servers[0].client(database.token) as here, servers[1].client(database.token) as there:
        reader = Reader(here, "POST", "/api/chat", json=said("t1", "/tokens 5000 5"))
        reader.until(b"w20 ")
        servers[0].send(signal.SIGSTOP)
        assert eventually(lambda: answer_of(there, "t1"), LEASE + 15)
        before = answer_of(there, "t1")
        turn = reader.events[0].cursor.partition("-")[0]  # type: ignore[union-attr]
        log = Reader(there, "GET", f"/api/turns/{turn}/stream").whole()
        servers[0].send(signal.SIGCONT)
        assert reader.whole() == log, "the reader of the sleeper is told the same end"
        time.sleep(1)
        assert Reader(there, "GET", f"/api/turns/{turn}/stream").whole() == log
        assert answer_of(there, "t1") == before
