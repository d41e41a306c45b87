"""Two server processes on one database: nothing is sticky."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from chat.testing.client import said
from chat.testing.readers import Reader, assert_all_read_what_is_stored
from chat.testing.servers import running
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
        assert assert_all_read_what_is_stored(database.ask, [reader]).status == "stopped"
