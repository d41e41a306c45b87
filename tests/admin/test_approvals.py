"""Who decided what, and what still waits, as an operator reads it."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from chat.models import ToolApproval, Turn
from tests.admin.pages import answered, html, list_url, page_url, words
from tests.factories import ApprovalFactory, UserFactory

pytestmark = pytest.mark.django_db


def test_a_waiting_turn_names_the_calls_it_waits_for(operator: Client) -> None:
    turn = answered(status="awaiting_approval", finished_at=None)
    ApprovalFactory.create(turn=turn, tool_name="send_mail")
    ApprovalFactory.create(turn=turn, tool_name="pay", status="approved", decided_at=timezone.now())
    assert "Awaiting approval send_mail" in words(html(operator, list_url(Turn)))
    page = words(html(operator, page_url(turn)))
    assert "send_mail Pending" in page
    assert "pay Approved" in page


def test_the_audit_tells_who_decided_what_and_why(operator: Client) -> None:
    ann = UserFactory.create(username="ann")
    denied = ApprovalFactory.create(
        tool_name="<b>pay</b>\u202e",
        status="denied",
        decided_by=ann,
        decided_at=timezone.now(),
        reason="too <i>dear</i>",
    )
    ApprovalFactory.create(
        tool_name="place", kind="output", status="answered", decided_at=timezone.now(), output=["Bern"]
    )
    page = html(operator, list_url(ToolApproval))
    assert "Denied" in words(page)
    assert "ann" in words(page)
    assert "<b>pay" not in page
    assert "\u202e" not in page
    page = html(operator, page_url(denied))
    assert "too &lt;i&gt;dear" in page
    assert words(html(operator, list_url(ToolApproval) + "?status__exact=answered")).count("place") == 1


def test_an_approval_is_found_by_turn_call_tool_and_person(operator: Client) -> None:
    approval = ApprovalFactory.create(tool_name="pay", decided_by=UserFactory.create(username="ann"))
    ApprovalFactory.create(tool_name="other")
    assert approval.turn.thread is not None
    for term in (str(approval.turn_id), approval.tool_call_id, "pay", "ann", str(approval.turn.thread_id)):
        told = words(html(operator, list_url(ToolApproval), q=term))
        assert "pay" in told, term
        assert "other" not in told, term
