"""The host's receivers are told of a turn's beginning and end, behind the commit: see ``chat.signals``."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from functools import cache
from typing import Any

from django.db import close_old_connections, reset_queries, transaction
from django.dispatch import Signal

from chat.models import Turn
from chat.signals import turn_ended, turn_started
from chat.store.sql import connection
from chat.store.turns import StoredTurn
from chat.telemetry import event

logger = logging.getLogger(__name__)

# Beginnings and ends that wait for receivers who are slower than the turns, some KB each; further ones are not told.
MOST_UNTOLD = 5_000
_places = threading.BoundedSemaphore(MOST_UNTOLD)


def started(turn: StoredTurn) -> StoredTurn:
    """Tell of a turn that begins with the open transaction, or has begun with the last statement. Returns it."""
    _tell(turn_started, turn)
    return turn


def ended(turn: StoredTurn, *, status: str, error_code: str, total_tokens: int) -> None:
    """The same of a turn that ends."""
    _tell(turn_ended, turn, status=status, error_code=error_code, total_tokens=total_tokens)


def receivers_told(seconds: float) -> None:
    """Wait until the receivers have returned from what was sent so far, ``seconds`` at most."""
    wait([_thread().submit(_nothing)], timeout=seconds)


def _tell(signal: Signal, turn: StoredTurn, **facts: Any) -> None:
    if not signal.receivers:
        return
    facts |= {
        "turn": turn.pk,
        "turn_id": turn.turn_id,
        "thread_id": turn.thread_id,
        "copilot_chat_id": turn.copilot_chat_id,
        "user_id": turn.user_id,
        "trigger": turn.trigger,
        "model": turn.model,
    }
    transaction.on_commit(lambda: _hand_over(signal, facts), using=connection().alias)


def _hand_over(signal: Signal, facts: dict[str, Any]) -> None:
    if not _places.acquire(blocking=False):
        _not_told(facts, "they are too slow")
        return
    try:
        _thread().submit(_send, signal, facts)
    except RuntimeError:  # the interpreter is about to exit
        _places.release()
        _not_told(facts, "the process ends")


def _not_told(facts: dict[str, Any], why: str) -> None:
    told = event("receivers_not_told", turn=facts["turn"])
    logger.warning("turn %s: its receivers were not told, %s", facts["turn"], why, extra=told)


def _send(signal: Signal, facts: dict[str, Any]) -> None:
    _places.release()
    close_old_connections()
    try:
        signal.send_robust(Turn, **facts)  # which logs what a receiver raises
    finally:
        reset_queries()
        close_old_connections()


def _nothing() -> None:
    pass


@cache
def _thread() -> Executor:
    return ThreadPoolExecutor(1, thread_name_prefix="chat-signals")
