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
import time
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

# By how much a beat may be late on a busy machine where nothing is wrong.
BUSY_SECONDS = 1.0
# Seconds between two prunings of the log; fewer where it is kept for less, but never none.
PRUNE_SECONDS, LEAST_SECONDS = 60.0, 0.5

_threads: list[threading.Thread] = []
_loop: asyncio.AbstractEventLoop | None = None  # where the turns run whose leases are renewed
_told_to_end = threading.Event()
_loop_answered = 0.0  # when the loop last did what a beat had asked it to, by ``time.monotonic``
_late_after = 0.0  # when the next beat is late, by the same clock
_spares = False  # whether the last beat was late, and took no turn from others
# What else is done at each beat, in its thread; a worker registers here.
also: list[Callable[[], object]] = []


def start_heartbeat() -> None:
    """See to it that this process has a pulse, for the running loop: it beats on for another that comes after."""
    global _loop, _spares
    _loop = asyncio.get_running_loop()
    _answer()
    run.leases_may_be_late = _leases_may_be_late
    if not any(thread.is_alive() for thread in _threads):
        _told_to_end.clear()
        _spares = False
        _well(time.monotonic())
        _threads[:] = [
            threading.Thread(target=_beat, name="chat-heartbeat", daemon=True),
            threading.Thread(target=_prune, name="chat-pruning", daemon=True),
        ]
        for thread in _threads:
            thread.start()


def stop_heartbeat() -> None:
    """End the pulse, for a process that has no turns any more."""
    _told_to_end.set()
    run.leases_may_be_late = bool
    for thread in _threads:
        thread.join(10)
    _threads.clear()


def _leases_may_be_late() -> bool:
    """Whatever kept us from a beat (the database was away, the machine slept) kept the others as well: they get one to
    renew their leases in, before they are taken for dead.
    """
    return _spares or time.monotonic() > _late_after


def _well(at: float) -> float:
    """Note when all was well; returns the seconds to the next beat."""
    global _late_after
    pause: float = conf.get("LEASE_SECONDS") / 3
    _late_after = at + 2 * pause + BUSY_SECONDS
    return pause


def _beat() -> None:
    global _spares
    last = time.monotonic()
    try:
        while not _told_to_end.wait(_well(last)):
            try:
                loop = _loop
                assert loop is not None
                _spares = time.monotonic() > _late_after
                _renew(loop)
                while not _spares and (recover_expired() or end_overdue()):  # a batch; our own leases must not wait
                    _renew(loop)
                for work in also:
                    work()
                loop.call_soon_threadsafe(runner.move_on, waiting_threads)
                last = time.monotonic()
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


def _answer() -> None:
    global _loop_answered
    _loop_answered = time.monotonic()


def _renew(loop: asyncio.AbstractEventLoop) -> None:
    """A loop that is blocked for longer than an agent may be silent, by a call that never returns, runs none of its
    turns: they are left to whoever recovers them.
    """
    ours = run.live_turns()
    loop.call_soon_threadsafe(_answer)
    silence = time.monotonic() - _loop_answered
    if ours and silence > conf.get("STALL_SECONDS") + conf.get("LEASE_SECONDS"):
        told = event("loop_blocked", number=len(ours), milliseconds=round(silence * 1000))
        logger.error("the event loop does nothing; its %d turns are left to others", len(ours), extra=told)
        return
    if not ours:
        return
    leases = {(lease.turn, lease.epoch): lease for lease in renew(ours)}
    for turn, epoch in ours:
        if (turn, epoch) not in leases:
            loop.call_soon_threadsafe(run.lost, turn, epoch)
        elif leases[turn, epoch].stop_requested:
            loop.call_soon_threadsafe(run.cancel, turn, TurnStatus.STOPPED)
