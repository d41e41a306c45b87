"""Stop a live turn or one that waits for decisions, cancel a queued one."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from chat.errors import Contention, ThreadBusy
from chat.models import TurnStatus
from chat.protocol import sse
from chat.store.crossing import in_thread
from chat.store.finalize import Ended, finalize_assistant_turn
from chat.store.queue import abandoned_turns, turns_around
from chat.store.scope import Scope
from chat.store.sql import ATTEMPTS
from chat.store.stream_log import ANYBODY, LogRow
from chat.store.threads import require_writable
from chat.store.turns import StoredTurn, busy_turn, read_turn, request_stop, request_stop_anyway
from chat.store.usage import UsageFigures
from chat.turns import envelope
from chat.turns.run import cancel
from chat.turns.runner import move_on
from chat.turns.waiting import withdraw

# Seconds that a send waits for the end of the turn it stops, between two looks, and until it asks for the stop again: a
# notification is lost while a listening connection is made anew.
PATIENCE, LOOK, ONCE_MORE = 10.0, 0.05, 3.0


async def stop_conversation(scope: Scope, conversation: uuid.UUID, *, only: int | None = None) -> int | None:
    """Ask the conversation's live turn (``only`` this one, if one is named) to stop and return its number; None when
    it is not live. One that waits for decisions runs nowhere: it has stopped when this returns.

    The partial answer and its usage are kept. A turn that completes at the same instant stays completed.
    """
    for _ in range(ATTEMPTS):
        turn = await in_thread(request_stop, scope, conversation, only=only)
        if turn is not None:
            cancel(turn, TurnStatus.STOPPED)  # at once, where it runs here; elsewhere the row and the NOTIFY do it
            return turn
        waiting = await in_thread(busy_turn, scope, conversation)
        if waiting is None or only not in (None, waiting.pk):
            return None
        if waiting.waiting and (ended := await in_thread(withdraw, waiting)):
            if ended == Ended.NEXT_WAITS:
                move_on(lambda: [conversation])
            return waiting.pk
        # It goes on, or waits, since a moment ago: once more.
    raise Contention


async def stop_turn(scope: Scope, pk: int) -> StoredTurn:
    """Ask one turn to stop, or cancel it if it is still queued; returns it as it stood before. Raises TurnNotFound,
    ReadOnly, Contention.

    Race: a queued turn that is promoted in this moment. The cancel is a compare-and-set on its epoch, which a
    promotion raises; when it comes too late, the turn is stopped like any live one.
    """
    turn = await in_thread(read_turn, scope, pk)
    if turn.status == TurnStatus.QUEUED:
        if turn.thread_id is not None:
            await in_thread(require_writable, scope, turn.thread_id)
        cancelled = await in_thread(_cancel_queued, turn)
        if cancelled:
            return turn
    await stop_conversation(scope, turn.conversation, only=pk)
    return turn


def stop_all(thread_id: uuid.UUID) -> None:
    """End what lives, or waits for decisions, in a thread that was just deleted: nobody will read it, or could stop it.
    What was asked behind it goes on waiting, and runs when the thread is restored.
    """
    stop_each(partial(abandoned_turns, thread_id))


def stop_around(user: Any) -> None:
    """End what a user who is being erased has begun, and what others have in their threads, and wait for it, ten
    seconds at most: an end that finds its thread gone writes no usage.
    """
    unended = partial(turns_around, user)
    stop_each(unended)
    deadline = time.monotonic() + PATIENCE
    while unended() and time.monotonic() < deadline:
        time.sleep(LOOK)


def stop_each(unended: Callable[[], Iterable[StoredTurn]]) -> None:
    """End turns, whoever may. What is queued or waits has ended when this returns; what runs was asked to, and does
    soon.

    Race: one that is promoted, or parks, or goes on, as it is looked at. They are looked up once more then.
    """
    for _ in range(ATTEMPTS):
        if not [turn for turn in unended() if not _stop_anyway(turn)]:
            return


def _stop_anyway(turn: StoredTurn) -> bool:
    if turn.status == TurnStatus.QUEUED:
        return bool(_cancel_queued(turn))
    return bool(withdraw(turn)) if turn.waiting else request_stop_anyway(turn.pk)


def _cancel_queued(turn: StoredTurn) -> Ended:
    ending = envelope.ending(TurnStatus.STOPPED, finish_reason="other", usage=None, error_code="", error_text="")
    chunks = [sse.encode(chunk) for chunk in (*envelope.opening(turn), *ending)]
    return finalize_assistant_turn(
        turn,
        status=TurnStatus.STOPPED,
        parts=[],
        metadata={},
        usage=UsageFigures(),
        log=LogRow(turn.pk, turn.epoch, 1, chunks),
        process=ANYBODY,
        finish_reason="other",
    )


async def stop_and_wait(scope: Scope, turn: int) -> None:
    """Stop a turn and wait until it has ended, wherever it runs. Raises ThreadBusy when it does not, in ten seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    asked: tuple[str, int] | None = None
    ask_again_at = 0.0
    while (stored := await in_thread(read_turn, scope, turn)).busy:
        if loop.time() > deadline:
            raise ThreadBusy(turn=turn, turn_id=stored.turn_id, status=stored.status, cursor=f"{turn}-0")
        state = stored.status, stored.epoch
        if state != asked or loop.time() > ask_again_at:
            asked, ask_again_at = state, loop.time() + ONCE_MORE
            await stop_conversation(scope, stored.conversation, only=turn)
        await asyncio.sleep(LOOK)
