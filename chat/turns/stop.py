"""Stop a live turn."""

from __future__ import annotations

import uuid

from chat.models import TurnStatus
from chat.store.crossing import in_thread
from chat.store.scope import Scope
from chat.store.turns import request_stop
from chat.turns.run import cancel


async def stop_thread(scope: Scope, thread_id: uuid.UUID) -> int | None:
    """Ask the thread's live turn to stop and return its number; None when none is live.

    The partial answer and its usage are kept. A turn that completes at the same instant stays completed.
    """
    turn = await in_thread(request_stop, scope, thread_id)
    if turn is not None:
        cancel(turn, TurnStatus.STOPPED)  # at once, where it runs here; elsewhere the row and the NOTIFY do it
    return turn
