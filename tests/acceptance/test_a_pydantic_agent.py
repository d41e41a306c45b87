"""A Pydantic AI agent with two tools, one of which needs approval, is there by one setting: for AI SDK clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.database import Postgres
from tests.acceptance.preloaded import Nursery, Preloaded
from tests.acceptance.test_ai_sdk_approvals import DECIDES, calls, deciding, states
from tests.acceptance.visits import Place, Visit, served, words

__all__ = ["deciding"]

pytestmark = [pytest.mark.node, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def place(postgres: Postgres, nursery: Nursery) -> Iterator[Place]:
    database = postgres.database()
    server = Preloaded(nursery, database.url, CHAT_PYDANTIC_AGENT="tests.agents.robots.Careful")
    with served(server, database) as place:
        yield place


@pytest.mark.parametrize("approved", [True, False])
def test_it_asks_an_ai_sdk_client_before_it_sends_a_mail(deciding: Visit, approved: bool) -> None:
    page = deciding.page(**DECIDES)
    page.send("Write to Ann and Bob, and tell me the time.")
    clock, ann, bob = calls(page)
    assert states(page) == ["output-available", "approval-requested", "approval-requested"]
    assert (clock["output"], ann["input"], bob["input"]) == ("noon", {"to": "ann"}, {"to": "bob"})
    assert deciding.turns() == ["awaiting_approval"]
    page.done("addToolApprovalResponse", {"id": ann["approval"]["id"], "approved": True})
    page.done("addToolApprovalResponse", {"id": bob["approval"]["id"], "approved": approved})
    assert states(page) == ["output-available"] * 2 + ["output-available" if approved else "output-denied"]
    assert "send_mail: sent to ann" in words(page.messages[-1])
    assert ("send_mail: sent to bob" in words(page.messages[-1])) is approved
    assert (page.status, deciding.turns()) == ("ready", ["completed"])
    deciding.assert_same(page)
    deciding.assert_same_when_fresh()
