"""The end of a turn that waits for decisions, without asking the model: it was stopped, or nobody decided in time."""

from __future__ import annotations

import logging

from chat.errors import ApprovalExpired
from chat.models import ApprovalStatus, TurnStatus
from chat.store.approvals import overdue_turns
from chat.store.finalize import Ended
from chat.store.turns import StoredTurn
from chat.telemetry import commit, event
from chat.turns.recover import end_from_log

logger = logging.getLogger(__name__)


def withdraw(turn: StoredTurn) -> Ended:
    """Stop a turn that waits: what nobody decided is denied, or has no output. ``Ended.NO`` when it goes on, or ended,
    in this moment: a compare-and-set on its epoch tells.
    """
    with commit("finish"):
        return end_from_log(turn, TurnStatus.STOPPED, undecided=ApprovalStatus.WITHDRAWN)


def end_overdue(turn: int | None = None) -> list[int]:
    """Stop turns (or this one) that wait for longer than CHAT_APPROVAL_SECONDS, some twenty at a time; returns their
    numbers. Any process may, any number of them at once.
    """
    ended = []
    for one, expired in overdue_turns(only=turn):
        try:
            if expire(one) if expired else withdraw(one):
                ended.append(one.pk)
        except Exception as problem:  # it must not keep the others from their end, and is tried again
            name = type(problem).__name__
            told = event("waiting_not_ended", turn=one.pk, conversation=one.conversation, problem=name)
            logger.error("turn %s, which waits no longer, could not be ended: %s", one.pk, name, extra=told)
    return ended


def expire(turn: StoredTurn) -> Ended:
    with commit("finish"):
        ended = end_from_log(
            turn,
            TurnStatus.STOPPED,
            undecided=ApprovalStatus.EXPIRED,
            error_code=ApprovalExpired.code,
            error_text=ApprovalExpired.message,
        )
    if ended:
        told = event("approval_expired", turn=turn.pk, conversation=turn.conversation)
        logger.info("turn %s was stopped: nobody decided in time on what it waited for", turn.pk, extra=told)
    return ended
