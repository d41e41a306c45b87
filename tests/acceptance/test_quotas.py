"""Quotas hold for a user, not for a process: a hundred sends at once, over two servers."""

from __future__ import annotations

import pytest

from chat.testing.client import said
from chat.testing.invariants import assert_invariants
from chat.testing.servers import eventually, running
from tests.acceptance.database import Database
from tests.acceptance.preloaded import Nursery, Preloaded
from tests.acceptance.wire import Exchange, request

pytestmark = pytest.mark.timeout(300)
SENDS, QUOTA = 100, 5
WRITTEN = """
    SELECT (SELECT count(*) FROM chat_threads), (SELECT count(*) FROM chat_turns),
           (SELECT count(*) FROM chat_messages)"""


@pytest.mark.parametrize("limit", ["live_turns", "turns_a_minute", "tokens_a_day"])
def test_of_a_hundred_sends_to_two_processes_exactly_five_are_admitted(
    database: Database, nursery: Nursery, limit: str
) -> None:
    allowed = 2000 if limit == "tokens_a_day" else QUOTA
    settings = {f"CHAT_QUOTA_{limit.upper()}": allowed, "CHAT_QUOTA_TOKENS_RESERVED": 400, "CHAT_DRAIN_SECONDS": 0}
    servers = [Preloaded(nursery, database.url, **settings) for _ in range(2)]
    with running(*servers):
        sends = [
            Exchange(servers[n % 2].port, request("POST", "/api/chat", database.token, said(f"t{n}", "/hang", f"m{n}")))
            for n in range(SENDS)
        ]
        statuses = [send.status(60) for send in sends]
        assert (statuses.count(200), statuses.count(429)) == (QUOTA, SENDS - QUOTA)
        assert database.live() == QUOTA
        assert database.ask(WRITTEN) == [(QUOTA, QUOTA, 2 * QUOTA)], "a refused send left rows"
        for send, status in zip(sends, statuses, strict=True):
            if status == 429:
                error = send.to_the_end().json()["error"]
                assert (error["code"], error["limit"], error["allowed"]) == ("quota_exceeded", limit, allowed)

        admitted = [number for number, status in enumerate(statuses) if status == 200]
        with servers[0].client(database.token) as client:
            for number in admitted:  # the same send again, to the other server: attached, not counted
                again = request("POST", "/api/chat", database.token, said(f"t{number}", "/hang", f"m{number}"))
                retry = Exchange(servers[(number + 1) % 2].port, again)
                assert retry.status(30) == 200
                retry.hang_up()
            for number in admitted:
                client.post(f"/api/chat/t{number}/stop").raise_for_status()
            assert eventually(lambda: database.live() == 0)
            assert database.ask("SELECT live FROM chat_quotas") == [([],)]
            sent = client.post("/api/chat", json=said("next", "/tokens 2 0"))
            # Tokens were only reserved: the stopped turns took a few.
            assert sent.status_code == (429 if limit == "turns_a_minute" else 200)
        for send in sends:
            send.hang_up()
    assert_invariants(database.ask)
