"""One send from many sides at once: in one process, and by turns to two servers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from chat.testing.client import Client, said
from chat.testing.double_sends import assert_one_turn, double_send, double_send_over
from chat.testing.invariants import EndedTurn
from chat.testing.scripted import Pause, script_of
from chat.testing.servers import running
from tests.acceptance.database import Postgres
from tests.acceptance.preloaded import Nursery, Preloaded
from tests.scale import rounds

WORDS = [{"type": "text-delta", "id": "1", "delta": f"w{number} "} for number in range(20)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("drained")
async def test_many_senders_in_one_process_get_one_stream(
    client: Client, scripted: None, sound: Callable[[], list[EndedTurn]]
) -> None:
    body = said("t1", script_of([*WORDS[:5], Pause(0.2), *WORDS[5:]]), "m1")
    stream = assert_one_turn(await double_send(client, body))
    assert stream.count(b'"delta"') == len(WORDS)


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_many_senders_to_two_servers_get_one_stream_each_time(postgres: Postgres, nursery: Nursery) -> None:
    database = postgres.database()
    servers = [Preloaded(nursery, database.url) for _ in range(2)]
    sends = rounds(10, 300)
    with running(*servers), ExitStack() as stack:
        clients = [stack.enter_context(server.client(database.token)) for server in servers]
        for number in range(sends):
            assert_one_turn(double_send_over(clients, said(f"t{number}", "/tokens 5 2", "m1")))
    assert len(database.sound()) == sends
