"""Stop a live turn."""

from __future__ import annotations

import asyncio
import uuid

from chat.errors import ThreadBusy
from chat.models import TurnStatus
from chat.store.crossing import in_thread
from chat.store.scope import Scope
from chat.store.turns import read_turn, request_stop
from chat.turns.run import cancel

# Seconds that a send waits for the end of the turn it stops, and between two looks.
PATIENCE, LOOK = 10.0, 0.05


async def stop_thread(scope: Scope, thread_id: uuid.UUID, *, only: int | None = None) -> int | None:
    """Ask the thread's live turn (``only`` this one, if one is named) to stop and return its number; None when it is
    not live.

    The partial answer and its usage are kept. A turn that completes at the same instant stays completed.
    """
    turn = await in_thread(request_stop, scope, thread_id, only=only)
    if turn is not None:
        cancel(turn, TurnStatus.STOPPED)  # at once, where it runs here; elsewhere the row and the NOTIFY do it
    return turn


async def stop_and_wait(scope: Scope, turn: int) -> None:
    """Stop a turn and wait until it has ended, wherever it runs. Raises ThreadBusy when it does not, in ten seconds."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while (stored := await in_thread(read_turn, scope, turn)).streaming:
        if asyncio.get_running_loop().time() > deadline:
            raise ThreadBusy(turn=turn, turn_id=stored.turn_id, cursor=f"{turn}-0")
        await stop_thread(scope, stored.thread_id, only=turn)
        await asyncio.sleep(LOOK)
