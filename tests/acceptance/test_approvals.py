"""A turn waits while its server is replaced, and goes on in another process: real servers, one database."""

from __future__ import annotations

import signal

import pytest

from chat.protocol import sse
from chat.testing.client import said
from chat.testing.readers import Reader
from chat.testing.servers import eventually, running, start_all
from tests.acceptance.database import Database
from tests.acceptance.preloaded import Nursery, Preloaded
from tests.turns.waiting import responded

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_approval_after_a_restart_goes_on_and_the_stream_replays_whole(
    database: Database, nursery: Nursery, how: signal.Signals
) -> None:
    first, second, third = (Preloaded(nursery, database.url) for _ in range(3))
    with running(first):
        with first.client(database.token) as client:
            asked = Reader(client, "POST", "/api/chat", json=said("t1", "/approve", "m1")).whole()
        first.send(how)
        assert eventually(lambda: not first.alive())
    start_all(second, third)
    try:
        with second.client(database.token) as client, third.client(database.token) as elsewhere:
            state = client.get("/api/threads/t1/state/").raise_for_status().json()
            (waiting,) = state["approvals"]
            assert client.get("/api/chat/t1/stream").status_code == 204
            message = next(one for one in state["messages"] if one["id"] == waiting["message_id"])
            body = {"id": "t1", "messages": [responded(message, approved=True)], "trigger": "submit-message"}
            rest = Reader(client, "POST", "/api/chat", json=body).whole()
            # From any process, and byte for byte what the two clients were sent.
            for one in (client, elsewhere):
                whole = Reader(one, "GET", f"/api/turns/{waiting['turn']}/stream").whole()
                assert whole == asked.removesuffix(sse.DONE) + rest
            again = elsewhere.post("/api/chat", json=body)
            assert (again.status_code, again.json()["error"]["code"]) == (409, "turn_ended")
    finally:
        second.stop()
        third.stop()
    turn = database.sound()["t1"]
    assert (turn.status, turn.stream) == ("completed", whole)
    assert "Sent to friend1@example.org" in turn.text


def test_one_who_reads_elsewhere_is_told_both_legs(database: Database, nursery: Nursery) -> None:
    """The other process follows the log: the leg's end ends its readers, and who comes then is told the next one."""
    here, there = Preloaded(nursery, database.url), Preloaded(nursery, database.url)
    with running(here, there), here.client(database.token) as client, there.client(database.token) as elsewhere:
        own = Reader(client, "POST", "/api/chat", json=said("t1", "/approve", "m1"))
        own.until(b"text-delta")
        turn = own.chunks[1]["data"]["turn"]
        other = Reader(elsewhere, "GET", f"/api/turns/{turn}/stream")
        assert own.whole() == other.whole()
        (call,) = client.get(f"/api/turns/{turn}").raise_for_status().json()["approvals"]
        decision = {"tool_call_id": call["tool_call_id"], "approved": False}
        elsewhere.post(f"/api/turns/{turn}/approvals/", json={"decisions": [decision]}).raise_for_status()
        whole = Reader(client, "GET", f"/api/turns/{turn}/stream").whole()
        assert whole == Reader(elsewhere, "GET", f"/api/turns/{turn}/stream").whole()
    assert database.sound()["t1"].stream == whole
