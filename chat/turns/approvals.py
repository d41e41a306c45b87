"""Decide on calls that a turn waits for: by REST, by a socket, or by the message that an AI SDK client posts again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from chat.errors import MessageNotFound, TurnEnded
from chat.protocol.decisions import Decision, reposted_decisions
from chat.protocol.requests import ChatBody
from chat.store import approvals
from chat.store.approvals import Answered, read_calls
from chat.store.crossing import in_thread
from chat.store.scope import Scope
from chat.store.threads import find_thread
from chat.store.turns import StoredTurn, read_turn, turn_of_answer
from chat.telemetry import commit
from chat.turns.run import begin_soon
from chat.turns.runner import itself, runner
from chat.turns.waiting import end_overdue


async def decide(scope: Scope, turn: int, decisions: Sequence[Decision]) -> StoredTurn:
    """Take decisions on calls of a turn, all or none; returns the turn as it stands then. With the last decision that
    it waits for the turn goes on.

    Raises TurnNotFound, ReadOnly for who may see the conversation and not write in it, TurnEnded, ApprovalNotFound,
    AlreadyDecided, InvalidInput, QuotaExceeded, ServerFull, Contention; then nothing was written.
    """
    # Shielded: a client that hangs up in this moment must not leave a turn that goes on without a run.
    return await asyncio.shield(begin_soon(_decide(scope, turn, decisions)))


async def _decide(scope: Scope, turn: int, decisions: Sequence[Decision]) -> StoredTurn:
    answered = await in_thread(_write, scope, turn, decisions)
    if answered.progress is not None:
        runner().run(answered.turn, answered.progress)
    return answered.turn


def _write(scope: Scope, turn: int, decisions: Sequence[Decision]) -> Answered:
    if read_turn(scope, turn).waiting:
        end_overdue(turn)
    with commit("decide"):
        return runner().begun(partial(approvals.decide, scope, turn, decisions), lambda answered: itself(answered.turn))


def is_repost(body: ChatBody) -> bool:
    """Whether a send brings no new message, but the answer there is, with decisions: as an AI SDK client does when a
    person has approved or denied, or its own tools have run.
    """
    last: Any = body.messages[-1] if body.messages else None
    return body.trigger == "submit-message" and isinstance(last, dict) and last.get("role") == "assistant"


async def go_on(scope: Scope, body: ChatBody) -> StoredTurn:
    """Take the decisions of such a message; returns the turn, whose new leg begins behind chunk ``last_seq``. One that
    goes on already is returned as it is: this client's decisions are the ones that were taken.

    Nothing but decisions is taken from the message. Raises what ``decide`` does, ThreadNotFound, MessageNotFound, and
    TurnEnded for any turn that has ended: a client that posts by itself must not do so again.
    """
    turn, calls = await in_thread(_named, scope, body)
    if turn.ended:
        raise TurnEnded(turn=turn.pk, status=turn.status)
    at = f"messages.{len(body.messages) - 1}"
    decisions = reposted_decisions(body.messages[-1], [(call.call, call.kind) for call in calls], at)
    if not decisions:
        return turn
    turn = await decide(scope, turn.pk, decisions)
    if turn.ended:  # meanwhile
        raise TurnEnded(turn=turn.pk, status=turn.status)
    return turn


def _named(scope: Scope, body: ChatBody) -> tuple[StoredTurn, list[approvals.WaitingCall]]:
    thread = find_thread(scope, body.id)
    name = body.messages[-1].get("id", body.message_id)
    turn = turn_of_answer(scope, thread, name) if isinstance(name, str) else None
    if turn is None:
        raise MessageNotFound
    return turn, read_calls(turn.pk)
