"""Unmodified AI SDK clients decide on tool calls and run tools: the same message goes on, and is what is stored."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.visits import Visit, words
from tests.clients.driver import Page

pytestmark = [pytest.mark.node, pytest.mark.timeout(120)]

DECIDES = {"sendAutomaticallyWhen": "lastAssistantMessageIsCompleteWithApprovalResponses"}
RUNS_TOOLS = {"sendAutomaticallyWhen": "lastAssistantMessageIsCompleteWithToolCalls"}


@pytest.fixture
def deciding(visit: Visit) -> Visit:
    """A visit of a client that knows approvals: 6 and newer."""
    if visit.version.startswith("ai-5"):
        pytest.skip("5.x has no word for approvals")
    return visit


def calls(page: Page) -> list[dict[str, Any]]:
    return [part for part in page.parts if "toolCallId" in part]


def states(page: Page) -> list[str]:
    return [part["state"] for part in calls(page)]


@pytest.mark.parametrize("approved", [True, False])
def test_what_a_client_approves_or_denies_goes_on_in_the_same_message(deciding: Visit, approved: bool) -> None:
    page = deciding.page(**DECIDES)
    page.send("/approve")
    assert (page.status, states(page), deciding.turns()) == ("ready", ["approval-requested"], ["awaiting_approval"])
    deciding.assert_same(page)
    page.done("addToolApprovalResponse", {"id": calls(page)[0]["approval"]["id"], "approved": approved})
    assert (page.status, page.requests) == ("ready", [("POST", 200)] * 2)
    assert states(page) == ["output-available" if approved else "output-denied"]
    assert ("Sent to friend1" if approved else "Not sent to friend1") in words(page.messages[-1])
    assert deciding.turns() == ["completed"]
    deciding.assert_same(page)
    deciding.assert_same_when_fresh()


def test_several_calls_go_on_together_when_the_last_is_decided(deciding: Visit) -> None:
    page = deciding.page(**DECIDES)
    page.send("/approve 2")
    first, second = calls(page)
    page.done("addToolApprovalResponse", {"id": first["approval"]["id"], "approved": True})
    assert page.requests == [("POST", 200)]
    page.done("addToolApprovalResponse", {"id": second["approval"]["id"], "approved": False, "reason": "too late"})
    assert states(page) == ["output-available", "output-denied"]
    assert "Not sent to friend2@example.org: too late." in words(page.messages[-1])
    deciding.assert_same(page)
    deciding.assert_same_when_fresh()


def test_a_fresh_client_decides_and_the_one_that_comes_second_is_told(deciding: Visit) -> None:
    first = deciding.page(**DECIDES)
    first.send("/approve")
    fresh = deciding.page_again(**DECIDES)
    fresh.done("resumeStream")
    assert (fresh.status, fresh.requests) == ("ready", [("GET", 204)])
    deciding.assert_same(fresh)
    approval = calls(fresh)[0]["approval"]["id"]
    fresh.done("addToolApprovalResponse", {"id": approval, "approved": True})
    assert (fresh.status, states(fresh)) == ("ready", ["output-available"])
    deciding.assert_same(fresh)
    first.done("addToolApprovalResponse", {"id": approval, "approved": False})
    assert first.status == "error"
    assert "turn_ended" in (first.error or "")
    assert [status for _, status in first.requests] == [200, 409]
    deciding.assert_same_when_fresh()


def test_a_client_that_sends_on_instead_of_deciding_has_denied(deciding: Visit) -> None:
    page = deciding.page()
    page.send("/approve")
    page.send("/tokens 3 0")
    assert (page.status, deciding.turns()) == ("ready", ["stopped", "completed"])
    deciding.assert_same_when_fresh()


def test_a_tool_that_the_client_runs_goes_on_with_its_output(visit: Visit) -> None:
    page = visit.page(**RUNS_TOOLS)
    page.send("/where")
    (call,) = calls(page)
    assert (page.status, call["state"], visit.turns()) == ("ready", "input-available", ["awaiting_approval"])
    method = "addToolResult" if visit.version == "ai-5" else "addToolOutput"
    page.done(method, {"tool": "browser_time_zone", "toolCallId": call["toolCallId"], "output": "Europe/Zurich"})
    assert (page.status, page.requests) == ("ready", [("POST", 200)] * 2)
    assert "Europe/Zurich" in words(page.messages[-1])
    assert visit.turns() == ["completed"]
    visit.assert_same(page)
    visit.assert_same_when_fresh()
