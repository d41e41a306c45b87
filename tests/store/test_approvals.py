"""Calls that wait, beside those of other turns: who decides, what is told, what is held and what goes on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import OperationalError
from django.utils import timezone

from chat.errors import AlreadyDecided, ApprovalNotFound, InvalidInput, ReadOnly, TurnEnded
from chat.models import Thread, ToolApproval, Turn
from chat.protocol.decisions import Decision
from chat.store.approvals import decide, read_calls
from chat.store.scope import Scope
from chat.store.sql import listen_parameters, rows, undone_on_error
from chat.store.turns import THREAD_CHANNEL
from tests.factories import ApprovalFactory, ThreadFactory, TurnFactory
from tests.races import while_held

pytestmark = pytest.mark.django_db


def waiting(asker: Scope, calls: int = 1, **call: Any) -> Turn:
    """A turn of the asker's that waits for so many calls, named ``0``, ``1`` …"""
    thread: Thread = ThreadFactory.create(owner_id=asker.user_id)
    turn: Turn = TurnFactory.create(thread=thread, status="awaiting_approval")
    for number in range(calls):
        ApprovalFactory.create(turn=turn, tool_call_id=str(number), **call)
    return turn


def yes(call: str = "0") -> Decision:
    return Decision("decisions.0", "approved", call=call)


def answered(**said: Any) -> Decision:
    return Decision("decisions.0", "answered", call="0", **said)


def test_a_decision_lets_its_own_turn_go_on_and_no_other(asker: Scope) -> None:
    turn, beside, half = waiting(asker), waiting(asker), waiting(asker, calls=2)
    decided = decide(asker, half.pk, [yes("1")], "me")
    assert (decided.turn.status, decided.progress) == ("awaiting_approval", None)
    decided = decide(asker, turn.pk, [yes()], "me")
    assert decided.progress is not None
    assert [call.status for call in decided.progress.calls] == ["approved"]
    found = {one.pk: (one.status, one.epoch, one.owner, one.heartbeat_at is None) for one in Turn.objects.all()}
    waits = ("awaiting_approval", 1, "", True)
    assert found == {turn.pk: ("streaming", 2, "me", False), beside.pk: waits, half.pk: waits}
    for index in ("enable_indexscan", "enable_bitmapscan"):
        rows(f"SET LOCAL {index} = off")
    rows("UPDATE chat_tool_approvals SET reason = 'x' WHERE turn_id = %(half)s AND tool_call_id = '0'", half=half.pk)
    assert [(call.call, call.status) for call in read_calls(half.pk)] == [("0", "pending"), ("1", "approved")]


@pytest.mark.usefixtures("everybody_reads")
def test_who_only_sees_a_thread_decides_nothing_in_it(asker: Scope, other: Scope) -> None:
    turn = waiting(asker)
    with pytest.raises(ReadOnly):
        decide(other, turn.pk, [yes()], "me")
    assert ToolApproval.objects.get().status == "pending"


@pytest.mark.parametrize("said", [{"output": {"zone": "UTC"}}, {"error": "It broke"}])
def test_who_answers_otherwise_and_too_late_is_told_what_was_answered(asker: Scope, said: dict[str, Any]) -> None:
    turn = waiting(asker, kind="output")
    decide(asker, turn.pk, [answered(**said)], "me")
    with pytest.raises(AlreadyDecided) as late:
        decide(asker, turn.pk, [answered(output="something else")], "me")
    assert late.value.details["outcome"] == {"tool_call_id": "0", "status": "answered", **said}


def test_a_decision_is_of_the_kind_that_its_call_waits_for(asker: Scope) -> None:
    with pytest.raises(InvalidInput, match="waits for to be approved or denied"):
        decide(asker, waiting(asker).pk, [answered(output=1)], "me")
    with pytest.raises(InvalidInput, match="waits for an output or an error"):
        decide(asker, waiting(asker, kind="output").pk, [yes()], "me")


def test_a_turn_that_never_asked_has_ended_or_knows_no_such_call(asker: Scope) -> None:
    thread = ThreadFactory.create(owner_id=asker.user_id)
    for status, refusal in (("completed", TurnEnded), ("streaming", ApprovalNotFound)):
        turn = TurnFactory.create(thread=thread, status=status)
        with pytest.raises(refusal):
            decide(asker, turn.pk, [yes()], "me")


def test_nobody_decides_after_the_time_or_the_turn_is_over(asker: Scope) -> None:
    now = timezone.now()
    for late in (
        waiting(asker, expires_at=now - timedelta(hours=1)),
        waiting(asker, status="expired", decided_at=now),
        waiting(asker, status="withdrawn", decided_at=now),
    ):
        with pytest.raises(TurnEnded):
            decide(asker, late.pk, [yes()], "me")
    answered = decide(asker, waiting(asker, expires_at=now + timedelta(hours=1)).pk, [yes()], "me")
    assert answered.progress
    assert answered.turn.created, "whoever decided last runs it"


@pytest.mark.django_db(transaction=True)
def test_who_decides_holds_the_turn_and_no_other_so_that_its_end_waits(asker: Scope) -> None:
    turn, beside = waiting(asker, calls=2), waiting(asker)
    hold = "SELECT FROM chat_turns WHERE id = %(pk)s FOR NO KEY UPDATE NOWAIT"

    def end() -> None:
        rows(hold, pk=beside.pk)
        with pytest.raises(OperationalError), undone_on_error():
            rows(hold, pk=turn.pk)

    while_held(lambda: decide(asker, turn.pk, [yes()], "me"), end)


@pytest.mark.django_db(transaction=True)
def test_who_watches_the_thread_is_told_of_a_decision_once(asker: Scope) -> None:
    turn = waiting(asker)
    with psycopg.connect(**listen_parameters(), autocommit=True) as line:
        line.execute(f"LISTEN {THREAD_CHANNEL}")
        decide(asker, turn.pk, [yes()], "me")
        rows("SELECT pg_notify(%(channel)s, 'the end')", channel=THREAD_CHANNEL)
        told = [one.payload for one in line.notifies(timeout=5, stop_after=2)]
    assert told == [str(turn.thread_id), "the end"]
