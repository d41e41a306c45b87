"""The pulse of a process: it renews the leases of its turns, ends those of processes that are gone and those that have
waited too long for decisions, and begins what they left waiting. Beside it the log is pruned.

A thread of its own, so that a busy event loop does not cost the leases of healthy turns; and one more for the pruning,
so that however much is to be deleted does not either.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable

from chat import conf
from chat.models import TurnStatus
from chat.store.leases import renew
from chat.store.queue import waiting_threads
from chat.store.sql import connection
from chat.store.stream_log import prune
from chat.telemetry import event
from chat.turns import run, runner
from chat.turns.recover import recover_expired
from chat.turns.waiting import end_overdue

logger = logging.getLogger(__name__)

# Seconds between two prunings of the log; fewer where it is kept for less, but never none.
PRUNE_SECONDS, LEAST_SECONDS = 60.0, 0.5

_threads: list[threading.Thread] = []
_loop: asyncio.AbstractEventLoop | None = None  # where the turns run whose leases are renewed
_told_to_end = threading.Event()
# What else is done at each beat, in its thread; a worker registers here.
also: list[Callable[[], object]] = []


def start_heartbeat() -> None:
    """See to it that this process has a pulse, for the running loop: it beats on for another that comes after."""
    global _loop
    _loop = asyncio.get_running_loop()
    if not any(thread.is_alive() for thread in _threads):
        _told_to_end.clear()
        _threads[:] = [
            threading.Thread(target=_beat, name="chat-heartbeat", daemon=True),
            threading.Thread(target=_prune, name="chat-pruning", daemon=True),
        ]
        for thread in _threads:
            thread.start()


def stop_heartbeat() -> None:
    """End the pulse, for a process that has no turns any more."""
    _told_to_end.set()
    for thread in _threads:
        thread.join(10)
    _threads.clear()


def _beat() -> None:
    try:
        while not _told_to_end.wait(conf.get("LEASE_SECONDS") / 3):
            try:
                loop = _loop
                assert loop is not None
                _renew(loop)
                while recover_expired() or end_overdue():  # a batch; our own leases must not wait for many of them
                    _renew(loop)
                for work in also:
                    work()
                loop.call_soon_threadsafe(runner.move_on, waiting_threads)
            except Exception as problem:  # the next beat tries again; a lease lasts for three
                name = type(problem).__name__
                logger.warning("a heartbeat failed: %s", name, extra=event("heartbeat_failed", problem=name))
                connection().close()
    finally:
        connection().close()


def _prune() -> None:
    while not _told_to_end.wait(_until_next_pruning()):
        try:
            while prune(conf.get("LOG_RETENTION_SECONDS")) and not _told_to_end.is_set():
                pass
        except Exception as problem:  # the next one tries again
            name = type(problem).__name__
            logger.warning("the log could not be pruned: %s", name, extra=event("log_not_pruned", problem=name))
        finally:
            connection().close()


def _until_next_pruning() -> float:
    pause: float = max(LEAST_SECONDS, min(PRUNE_SECONDS, conf.get("LOG_RETENTION_SECONDS")))
    return pause * random.uniform(0.5, 1.5)  # noqa: S311  # not all processes at once


def _renew(loop: asyncio.AbstractEventLoop) -> None:
    ours = run.live_turns()
    if not ours:
        return
    leases = {(lease.turn, lease.epoch): lease for lease in renew(ours)}
    for turn, epoch in ours:
        if (turn, epoch) not in leases:
            loop.call_soon_threadsafe(run.lost, turn, epoch)
        elif leases[turn, epoch].stop_requested:
            loop.call_soon_threadsafe(run.cancel, turn, TurnStatus.STOPPED)
