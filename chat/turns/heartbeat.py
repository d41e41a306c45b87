"""The pulse of a process: it renews the leases of its turns, ends those of processes that are gone and those that have
waited too long for decisions, begins what they left waiting, and prunes the log.

A thread of its own, so that a busy event loop does not cost the leases of healthy turns.
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

# Seconds between two prunings of the log, a thousand turns each: some twenty ended turns a second.
PRUNE_SECONDS = 60.0

_thread: threading.Thread | None = None
_told_to_end = threading.Event()
# What else is done at each beat, in its thread; a worker registers here.
also: list[Callable[[], object]] = []


def start_heartbeat() -> None:
    """See to it that this process has a pulse, for the running loop."""
    global _thread
    if _thread is None or not _thread.is_alive():
        _told_to_end.clear()
        loop = asyncio.get_running_loop()
        _thread = threading.Thread(target=_beat, args=(loop,), name="chat-heartbeat", daemon=True)
        _thread.start()


def stop_heartbeat() -> None:
    """End the pulse, for a process that has no turns any more."""
    global _thread
    thread, _thread = _thread, None
    if thread is not None:
        _told_to_end.set()
        thread.join(10)


def _beat(loop: asyncio.AbstractEventLoop) -> None:
    prune_at = _next_pruning()
    try:
        while not _told_to_end.wait(conf.get("LEASE_SECONDS") / 3):
            try:
                _renew(loop)
                while recover_expired() or end_overdue():  # a batch; our own leases must not wait for many of them
                    _renew(loop)
                for work in also:
                    work()
                loop.call_soon_threadsafe(runner.move_on, waiting_threads)
                if time.monotonic() >= prune_at:
                    prune(conf.get("LOG_RETENTION_SECONDS"))
                    prune_at = _next_pruning()
            except Exception as problem:  # the next beat tries again; a lease lasts for three
                name = type(problem).__name__
                logger.warning("a heartbeat failed: %s", name, extra=event("heartbeat_failed", problem=name))
                connection().close()
    finally:
        connection().close()


def _next_pruning() -> float:
    pause: float = min(PRUNE_SECONDS, conf.get("LOG_RETENTION_SECONDS"))
    return time.monotonic() + pause * random.uniform(0.5, 1.5)  # noqa: S311  # not all processes at once


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
