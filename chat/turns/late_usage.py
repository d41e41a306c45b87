"""Figures of a provider that come when the turn has ended: they replace an estimate.

An agent hands them over as it hands over any: ``turn.usage.add(…)``, from a task or thread of its own that has outlived
the run, as when the turn was stopped and the provider's last word came after it. Who learns of them in another process
calls ``settle``.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from chat.protocol.usage import UsageMeter
from chat.store.crossing import in_thread_with_patience
from chat.store.sql import UNAVAILABLE
from chat.store.turns import StoredTurn
from chat.store.usage import settle_usage
from chat.telemetry import event
from chat.turns.prices import load_list, reported

logger = logging.getLogger(__name__)

# Seconds for which calls that come late are gathered: the row takes figures once.
GATHER_SECONDS = 0.5

_settling: set[asyncio.Task[bool]] = set()


def watch(turn: StoredTurn, meter: UsageMeter, counted: int) -> None:
    """Settle the row of a turn that has just ended, with an estimate or none, by what its agent reports from now on, or
    has reported while the end was being stored: the row has the first ``counted`` calls. On the running loop.
    """
    loop = asyncio.get_running_loop()

    def heard() -> None:
        meter.on_late = None
        with suppress(RuntimeError):  # the process ends
            loop.call_soon_threadsafe(_begin, turn, meter)

    meter.on_late = heard
    if meter.tells_of_answer(since=counted):
        heard()


async def settle(turn: int, meter: UsageMeter) -> bool:
    """Write what a provider said, as a meter holds it, into a turn's usage row, priced; a guess gives way to it. False
    where the row has a provider's figures already, or there is none, and where the meter holds nothing but guesses and
    a title's calls.
    """
    known = UsageMeter([call for call in meter.calls if not call.get("estimated")])
    if not known.tells_of_answer():
        return False
    await load_list(known)
    return await in_thread_with_patience(settle_usage, turn, reported(known))


def _begin(turn: StoredTurn, meter: UsageMeter) -> None:
    task = asyncio.get_running_loop().create_task(_gathered(turn.pk, meter), name=f"usage of turn {turn.pk}")
    _settling.add(task)
    task.add_done_callback(_settling.discard)


async def _gathered(turn: int, meter: UsageMeter) -> bool:
    await asyncio.sleep(GATHER_SECONDS)
    try:
        settled = await settle(turn, meter)
    except UNAVAILABLE:
        settled = False
    if not settled:
        logger.warning("the usage of turn %s stays an estimate", turn, extra=event("usage_estimated", turn=turn))
    return settled
