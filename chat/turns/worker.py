"""A worker: a process that runs the turns which others have begun (``CHAT_RUNNER=worker``).

Procrastinate brings the jobs. A job waits for the end of its turn for one reason, that the worker takes no more of them
than it may run: a turn that was claimed goes on whatever becomes of its job.
"""

from __future__ import annotations

import asyncio
import logging

from procrastinate import App, PsycopgConnector

from chat import conf
from chat.models import TurnStatus
from chat.store import jobs
from chat.store.approvals import Progress, read_progress
from chat.store.crossing import in_thread_with_patience
from chat.store.leases import Claimed, claim
from chat.store.sql import listen_parameters
from chat.streams.writer import process_name
from chat.telemetry import commit, event
from chat.turns import heartbeat, run
from chat.turns.process import end_process, start_process

logger = logging.getLogger(__name__)

# Seconds after which a job is looked for without having been told.
POLL_SECONDS = 1.0
# Seconds that jobs which were just fetched get to claim their turns, when no more are to be.
CLAIM_SECONDS = 1.0
# Connections for Procrastinate's own statements: one fetches, others put away what is done; one more listens.
CONNECTIONS = 3
# Seconds between two tries while the database is away.
PAUSE = 1.0


async def work(concurrency: int, told_to_end: asyncio.Event) -> None:
    """Run turns, at most ``concurrency`` at once, until told to end; then take no more, give the live ones
    CHAT_DRAIN_SECONDS to end by themselves, and end and store the others as ``interrupted``.
    """
    run.accept_turns_again()
    start_process()
    while not told_to_end.is_set():
        serving = asyncio.create_task(_serve(concurrency), name="chat worker")
        waiting = asyncio.create_task(told_to_end.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if told_to_end.is_set():
            ending = asyncio.create_task(end_process())  # first: what is fetched from now on goes back
            await _ended(serving)
            await ending
            break
        waiting.cancel()
        heartbeat.also.clear()  # who fetches no jobs must not keep alive what waits for it
        # Its statements failed: the turns that run here go on.
        name = type(serving.exception()).__name__
        logger.warning("no jobs can be fetched (%s)", name, extra=event("jobs_unread", problem=name))
        await asyncio.sleep(PAUSE)
    else:
        await end_process()  # told to in that pause
    heartbeat.also.clear()


async def _ended(serving: asyncio.Task[None]) -> None:
    """Let Procrastinate end in order. More than once: a cancellation that comes while it connects may get lost (in
    ``asyncio.wait_for`` of Python 3.11, measured).
    """
    while not serving.done():
        serving.cancel()
        await asyncio.wait({serving}, timeout=CLAIM_SECONDS + 2)


async def _serve(concurrency: int) -> None:
    connector = PsycopgConnector(kwargs=listen_parameters(), min_size=1, max_size=CONNECTIONS)
    app = App(connector=connector)
    app.task(name=jobs.TASK)(run_turn)
    try:
        await app.open_async()
        heartbeat.also[:] = [jobs.keep_waiting, jobs.forget_lost]
        await app.run_worker_async(
            queues=[conf.get("WORKER_QUEUE")],
            name=process_name(),
            concurrency=concurrency,
            fetch_job_polling_interval=POLL_SECONDS,
            shutdown_graceful_timeout=CLAIM_SECONDS,
            stalled_worker_timeout=jobs.STALLED_SECONDS,
            delete_jobs="always",
            install_signal_handlers=False,
        )
    finally:
        await app.close_async()  # also what was not open yet


async def run_turn(turn: int, epoch: int) -> None:
    """The job: claim a turn, run it, return when it has ended. One that is somebody else's, or has ended, is left."""
    if run.is_draining():
        await in_thread_with_patience(jobs.put_in_queue, turn, epoch)
        return
    # Shielded: a job that is given up must not leave a claimed turn without a run, nor take its run with it.
    begun = await asyncio.shield(run.waited_for(_begin(turn, epoch)))
    if begun is not None:
        await asyncio.shield(begun.task)


async def _begin(turn: int, epoch: int) -> run.Run | None:
    if (turn, epoch) in run.live_turns():  # somebody has made a second job for it
        return None
    claimed, progress = await in_thread_with_patience(_claim, turn, epoch)
    if claimed is None:
        told = event("turn_not_claimed", turn=turn)
        logger.info("turn %s is not run here: it has ended, or is another's", turn, extra=told)
        return None
    begun = run.start_run(claimed.turn, progress)
    if claimed.stop_requested:
        begun.cancel(TurnStatus.STOPPED)
    return begun


def _claim(turn: int, epoch: int) -> tuple[Claimed | None, Progress | None]:
    with commit("claim"):
        claimed = claim(turn, epoch, process_name())
    return claimed, read_progress(turn) if claimed is not None and claimed.goes_on else None
