"""Calls that wait: asked when a turn parks, decided once, and the turn's next leg begun by whoever decides the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chat.errors import AlreadyDecided, ApprovalNotFound, Contention, InvalidInput, TurnEnded
from chat.models import ApprovalStatus, TurnStatus
from chat.protocol.decisions import Decision
from chat.store.copilot import lock_chat
from chat.store.queue import LOCK_WRITABLE
from chat.store.quotas import admitted, limits_of, refuse
from chat.store.scope import Scope
from chat.store.sql import ATTEMPTS, decoded, encoded, one_transaction, row, rows
from chat.store.stream_log import read_log
from chat.store.threads import require_writable
from chat.store.turns import THREAD_CHANNEL, TURN_COLUMNS, StoredTurn, message_id, read_turn, stored_turn
from chat.store.usage import UsageFigures, read_usage


@dataclass(frozen=True, slots=True)
class WaitingCall:
    """A call that a turn waits or waited for, as it was decided on; ``kind`` and ``status`` as in ``models.approval``.
    ``overdue``: nobody may decide on it any more.
    """

    pk: int
    call: str
    approval: str
    kind: str
    status: str
    changed_input: dict[str, Any] | None
    output: Any
    error: str
    reason: str
    overdue: bool

    def outcome(self) -> dict[str, Any]:
        """What somebody is told who decided otherwise, and too late."""
        told: dict[str, Any] = {"tool_call_id": self.call, "status": self.status}
        if self.changed_input is not None:
            told["input"] = self.changed_input
        if self.status == ApprovalStatus.ANSWERED:
            told |= {"error": self.error} if self.error else {"output": self.output}
        return told

    def is_said_by(self, decision: Decision) -> bool:
        """Whether the decision is the one there is; a reason makes no difference."""
        return (self.status, self.changed_input, self.output, self.error) == (
            decision.verdict,
            decision.input,
            decision.output,
            decision.error,
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """All that is stored of a turn whose answer has begun."""

    log: list[bytes]
    calls: list[WaitingCall]
    usage: UsageFigures | None


@dataclass(frozen=True, slots=True)
class Answered:
    """A turn after a decision. With ``progress`` its next leg has begun with it, and the caller runs it."""

    turn: StoredTurn
    progress: Progress | None = None


def read_calls(turn: int) -> list[WaitingCall]:
    """The calls that a turn has waited for, in the order in which it asked."""
    found = rows(
        """
        SELECT a.id, a.tool_call_id, a.approval_id, a.kind, a.status, a.changed_input, a.output, a.error_text, a.reason,
               a.status = 'pending' AND (coalesce(a.expires_at <= clock_timestamp(), false)
                                         OR t.stop_requested_at IS NOT NULL) AS overdue
          FROM chat_tool_approvals a JOIN chat_turns t ON t.id = a.turn_id
         WHERE a.turn_id = %(turn)s ORDER BY a.id
        """,
        turn=turn,
    )
    return [
        WaitingCall(
            pk=one["id"],
            call=one["tool_call_id"],
            approval=one["approval_id"],
            kind=one["kind"],
            status=one["status"],
            changed_input=None if one["changed_input"] is None else decoded(one["changed_input"]),
            output=None if one["output"] is None else decoded(one["output"]),
            error=one["error_text"],
            reason=one["reason"],
            overdue=one["overdue"],
        )
        for one in found
    ]


def read_progress(turn: int) -> Progress:
    """What is stored of a turn, for who goes on with it or ends it: no scope."""
    return Progress(read_log(turn), read_calls(turn), read_usage(turn))


def decide(scope: Scope, pk: int, decisions: Sequence[Decision], owner: str) -> Answered:
    """Write decisions on calls of a turn, all or none. When no call waits any more the turn goes on in the same
    transaction: it is streaming under the next epoch, ``owner`` has its lease, and it holds a place among its user's
    live turns.

    Races: any number of others who decide, the end of the turn, its expiry. All of them take the conversation's and
    the turn's lock. The first decision on a call stays; the same one again changes nothing, another one is
    AlreadyDecided with the outcome there is.

    Raises TurnNotFound, ThreadNotFound, ReadOnly, TurnEnded, ApprovalNotFound, InvalidInput for a decision that its
    call does not wait for, QuotaExceeded, Contention; then nothing was written.
    """
    seen = read_turn(scope, pk)
    with one_transaction():
        if seen.copilot_chat_id is not None:
            lock_chat(scope, seen.copilot_chat_id)
        elif seen.thread_id is not None and not row(LOCK_WRITABLE, thread=seen.thread_id, scope_user=scope.user_id):
            require_writable(scope, seen.thread_id)
            raise Contention  # it was shared a moment ago
        rows("SELECT FROM chat_turns WHERE id = %(turn)s FOR NO KEY UPDATE", turn=pk)
        turn, calls = read_turn(scope, pk), read_calls(pk)
        if turn.ended and not calls:
            raise TurnEnded(turn=pk, status=turn.status)
        for decision in decisions:
            _decide(scope, turn, _meant(calls, decision), decision)
        if turn.status != TurnStatus.AWAITING_APPROVAL:
            return Answered(turn)
        if any(call.status == ApprovalStatus.PENDING for call in read_calls(pk)):
            return Answered(read_turn(scope, pk))
        return Answered(_go_on(turn, owner), read_progress(pk))


def _meant(calls: Sequence[WaitingCall], decision: Decision) -> WaitingCall:
    for call in calls:
        if decision.call in (None, call.call) and decision.approval in (None, call.approval):
            break
    else:
        raise ApprovalNotFound(field=decision.field)
    if (call.kind == "output") != (decision.verdict == "answered"):
        wanted = "an output or an error" if call.kind == "output" else "to be approved or denied"
        raise InvalidInput(decision.field, f"This call waits for {wanted}.")
    return call


def _decide(scope: Scope, turn: StoredTurn, call: WaitingCall, decision: Decision) -> None:
    if call.overdue or call.status in (ApprovalStatus.EXPIRED, ApprovalStatus.WITHDRAWN):
        raise TurnEnded(turn=turn.pk, status=turn.status)
    decided = row(
        """
        UPDATE chat_tool_approvals
           SET status = %(verdict)s, changed_input = %(changed)s::jsonb, output = %(output)s::jsonb,
               error_text = %(error)s, reason = %(reason)s, decided_by_id = %(scope_user)s,
               decided_at = clock_timestamp()
         WHERE id = %(call)s AND status = 'pending'
        RETURNING id, CASE WHEN %(thread)s::text IS NOT NULL THEN pg_notify(%(channel)s, %(thread)s::text) END
        """,
        call=call.pk,
        verdict=decision.verdict,
        changed=None if decision.input is None else encoded(decision.input),
        output=None if decision.output is None else encoded(decision.output),
        error=decision.error,
        reason=decision.reason,
        scope_user=scope.user_id,
        channel=THREAD_CHANNEL,
        thread=turn.thread_id,
    )
    if decided is None:
        (there,) = (one for one in read_calls(turn.pk) if one.pk == call.pk)  # also if this very request decided it
        if not there.is_said_by(decision):
            raise AlreadyDecided(turn=turn.pk, outcome=there.outcome())


def _go_on(turn: StoredTurn, owner: str) -> StoredTurn:
    limits = None if turn.user_id is None else limits_of(turn.user_id)
    for _ in range(ATTEMPTS):
        found = admitted(GO_ON, limits, turn=turn.pk, owner=owner, scope_user=turn.user_id)
        if found is not None:
            return stored_turn(found, created=True)
        if limits is not None:
            refuse(turn.user_id, limits)
    raise Contention


def overdue_turns(*, only: int | None = None, limit: int = 20) -> list[tuple[StoredTurn, bool]]:
    """Turns that wait and may not wait any longer, since nobody decided in time, or (then with False) since their stop
    was asked for in the moment in which they began to wait. For whoever sweeps: no scope.
    """
    found = rows(
        f"""
        SELECT {TURN_COLUMNS}, t.stop_requested_at IS NULL AS expired,
               {message_id("user")} AS user_message_id, {message_id("assistant")} AS assistant_message_id
          FROM chat_turns t
         WHERE t.status = 'awaiting_approval'
           AND (t.id IN (SELECT a.turn_id FROM chat_tool_approvals a
                          WHERE a.status = 'pending' AND a.expires_at <= clock_timestamp())
                OR t.stop_requested_at IS NOT NULL)
           AND (%(only)s::bigint IS NULL OR t.id = %(only)s)
         ORDER BY t.id LIMIT %(limit)s
        """,
        only=only,
        limit=limit,
    )
    return [(stored_turn({key: one[key] for key in one if key != "expired"}), one["expired"]) for one in found]


# Ends of the statement with which a turn parks, or ends while it waits. Want a CTE ``turn``.
ASK = """, asked AS (
    INSERT INTO chat_tool_approvals (turn_id, tool_call_id, approval_id, tool_name, kind, input, expires_at)
    SELECT turn.id, call.id, call.approval, call.name, call.kind, call.input,
           clock_timestamp() + make_interval(secs => nullif(%(approval_seconds)s::float, 0))
      FROM turn CROSS JOIN jsonb_to_recordset(%(asked)s::jsonb)
                           AS call (id text, approval text, name text, kind text, input jsonb)
)"""
LEAVE_UNDECIDED = """, undecided AS (
    UPDATE chat_tool_approvals a SET status = %(undecided)s, decided_at = clock_timestamp()
      FROM turn WHERE a.turn_id = turn.id AND a.status = 'pending'
)"""
GO_ON = f"""
WITH turn AS (
    UPDATE chat_turns t
       SET status = 'streaming', epoch = epoch + 1, owner = %(owner)s, heartbeat_at = clock_timestamp()
     WHERE t.id = %(turn)s AND t.status = 'awaiting_approval' {{within}}
    RETURNING *
){{quota}}
SELECT {TURN_COLUMNS}, {message_id("user")} AS user_message_id, {message_id("assistant")} AS assistant_message_id
  FROM turn t
"""
