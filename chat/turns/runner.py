"""Who runs a turn that was begun: this process, or a worker (``CHAT_RUNNER``). Only here is there a difference.

Everything that begins a turn, or lets one go on, does it with ``runner().begun``, and then says ``runner().run``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

from chat import conf
from chat.store import jobs, queue
from chat.store.approvals import Progress
from chat.store.crossing import in_thread
from chat.store.turns import StoredTurn
from chat.streams.writer import process_name
from chat.telemetry import commit, event
from chat.turns import run

logger = logging.getLogger(__name__)
T = TypeVar("T")


def itself(turn: StoredTurn) -> StoredTurn | None:
    """The turn, if it was begun by the call that returned it."""
    return turn if turn.created and turn.streaming else None


class Runner(Protocol):
    """Where turns run."""

    def begun(self, begin: Callable[..., T], turn_of: Callable[[T], StoredTurn | None]) -> T:
        """Call a function of ``store`` that may begin a turn, with the ``owner`` that the turn is to have; returns what
        it does. ``turn_of`` finds the turn that it has begun in that, if any. In a thread.
        """
        ...

    def run(self, turn: StoredTurn, progress: Progress | None = None) -> None:
        """See to it that a turn runs which ``begun`` has begun. On the running loop."""
        ...

    def has_room(self, mine: int = 0) -> bool:
        """Whether one more turn may be begun here; ``mine`` of those that are just being begun are the asker's own."""
        ...


class InThisProcess:
    """The turn belongs to the process that has begun it."""

    def begun(self, begin: Callable[..., T], turn_of: Callable[[T], StoredTurn | None]) -> T:
        return begin(owner=process_name())

    def run(self, turn: StoredTurn, progress: Progress | None = None) -> None:
        run.start_run(turn, progress)

    def has_room(self, mine: int = 0) -> bool:
        return not run.is_draining() and run.has_room(mine)


class ByWorkers:
    """The turn belongs to nobody until a worker claims it, of which it is told by a job. This process reads the answer
    like that of any turn which runs elsewhere.
    """

    def begun(self, begin: Callable[..., T], turn_of: Callable[[T], StoredTurn | None]) -> T:
        return jobs.begun_with_job(partial(begin, owner=""), turn_of)

    def run(self, turn: StoredTurn, progress: Progress | None = None) -> None:
        """Its job was written with it."""

    def has_room(self, mine: int = 0) -> bool:
        return True


RUNNERS: dict[str, Runner] = dict(zip(conf.RUNNERS, (InThisProcess(), ByWorkers()), strict=True))


def runner() -> Runner:
    """The one that CHAT_RUNNER names; KeyError for what it cannot be, which ``manage.py check`` tells before."""
    return RUNNERS[conf.get("RUNNER")]


def next_turn(thread_id: UUID) -> StoredTurn | None:
    """Begin the thread's next queued turn, unless a turn is busy; ``runner().run`` is the caller's to say."""
    if not queue.may_go_on(thread_id):
        return None
    with commit("promote"):
        return runner().begun(partial(queue.promote, thread_id), lambda turn: turn)


def move_on(threads: Callable[[], Iterable[UUID]]) -> None:
    """Begin the next queued turn of each thread that ``threads`` finds (in a thread of its own), as far as there is
    room. Else, or where it fails, another process does, or the next sweep.
    """

    async def run_next() -> None:
        # One by one: a turn that is begun in the database is run, whatever becomes of the others.
        for thread in await in_thread(threads):
            if not runner().has_room(mine=1):
                return
            try:
                if (turn := await in_thread(next_turn, thread)) is not None:
                    runner().run(turn)
            except Exception as problem:
                name = type(problem).__name__
                told = event("next_turn_failed", conversation=thread, problem=name)
                logger.warning("the next turn of thread %s could not be begun: %s", thread, name, extra=told)

    if runner().has_room():
        run.waited_for(run_next()).add_done_callback(_told_if_failed)


def _told_if_failed(moving: asyncio.Task[None]) -> None:
    if not moving.cancelled() and (problem := moving.exception()):
        name = type(problem).__name__
        logger.warning("queues could not be read: %s", name, extra=event("queues_unread", problem=name))
