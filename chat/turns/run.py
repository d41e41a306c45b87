"""A run: the task that drives the agent of one turn, or of one of its legs, from the first chunk to the stored end.

It belongs to the process, not to a request: readers come and go, the run goes on.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar, Unpack
from uuid import UUID

from chat import conf
from chat.agents.base import AgentError, AgentStalled, TurnContext, load_agent
from chat.agents.errors import AnswerTooLong, failure_of
from chat.errors import ServerFull, Unavailable
from chat.models import TurnStatus
from chat.protocol import sse
from chat.protocol.chunks import Chunk
from chat.protocol.history import model_history
from chat.protocol.sanitize import clean_text
from chat.store.approvals import Progress
from chat.store.crossing import in_thread, in_thread_with_patience
from chat.store.finalize import PARKED, Ended
from chat.store.history import read_history
from chat.store.sql import UNAVAILABLE
from chat.store.turns import StoredTurn
from chat.streams.hub import close_stream, hand_over, open_stream
from chat.streams.writer import writer
from chat.telemetry import Fields, event, measure, span
from chat.turns import envelope
from chat.turns.draft import Draft
from chat.turns.finish import Outcome, finish
from chat.turns.recover import recover_expired
from chat.turns.titles import begin_title
from chat.turns.waiting import withdraw

logger = logging.getLogger(__name__)
T = TypeVar("T")

# An agent that never waits would keep the loop, and with it every other turn and reader.
CHUNKS_WITHOUT_PAUSE = 100
# Seconds that an agent gets to let go of its provider before the turn ends without it.
CANCEL_SECONDS = 1.0
# Seconds between the commit that begins a turn and its run, at the most.
STOP_IS_KEPT_SECONDS = 30.0
# A day: not every event loop takes an endless timeout.
LONGEST_WAIT = 86_400.0


class Run:
    """One turn being answered in this process; with ``progress`` it goes on with what is stored of it.

    Two tasks: the agent's work, which may be cancelled or given up, and the run around it, which always stores an end.
    """

    def __init__(self, turn: StoredTurn, progress: Progress | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.turn = turn
        self._draft = Draft.resumed(turn, progress) if progress else Draft()
        self.stream = open_stream(turn.pk, progress.log if progress else ())
        self._log = writer()
        self._size = sum(map(len, progress.log)) if progress else 0
        self._calls = progress.calls if progress else []
        self._heard_at = loop.time()
        self._told: asyncio.Future[Outcome] = loop.create_future()
        self._closed = False
        self.task = loop.create_task(self._run(), name=f"turn {turn.pk}")

    def cancel(self, status: TurnStatus) -> bool:
        """End the run early, as ``stopped`` or ``interrupted``: what was shown so far stays. False when its end, or
        that of its leg, is being stored already: then it does nothing.
        """
        if self._closed:
            return False
        if not self._told.done():
            self._told.set_result(Outcome(status))
        return True

    def _event(self, name: str, **fields: Unpack[Fields]) -> dict[str, Any]:
        fields["turn"], fields["conversation"] = self.turn.pk, self.turn.conversation
        return event(name, **fields)

    async def _run(self) -> None:
        logger.info("turn %s begins to run", self.turn.pk, extra=self._event("turn_begun"))
        measure("chat_turns_begun_total")
        measure("chat_live_runs", 1)
        ended = Ended.NO
        try:
            opening = envelope.opening(self.turn)
            self._draft.apply(opening)
            self._show([*opening, *self._draft.decided(self._calls)])
            with span("chat.turn", turn=self.turn.pk, conversation=self.turn.conversation) as tell:
                outcome = await self._outcome()
                tell({"status": outcome.status.value, "code": outcome.error_code})
                self._closed = True
                ended = await finish(self.turn, outcome, self.stream, self._draft)
        except Exception as problem:
            name, is_away = type(problem).__name__, isinstance(problem, (*UNAVAILABLE, Unavailable))
            logger.error(
                "the end of turn %s could not be stored (%s); it is recovered when its lease is out",
                self.turn.pk,
                name,
                extra=self._event("end_not_stored", problem=name),
                exc_info=not is_away,  # else the database refuses it, or a fault of ours
            )
        finally:
            _runs.pop((self.turn.pk, self.turn.epoch), None)
            measure("chat_live_runs", -1)
            if ended:
                close_stream(self.stream, rests=ended in PARKED)
                if ended == Ended.STOP_WANTED:
                    with suppress(*UNAVAILABLE):  # else the next sweep does
                        # As it is parked: all of its log is of legs of which its usage tells.
                        parked = replace(self.turn, last_seq=self.stream.last_seq)
                        ended = await in_thread(withdraw, parked)
                if ended == Ended.NEXT_WAITS and on_free is not None:
                    on_free(self.turn.conversation)
            else:
                await hand_over(self.stream)

    async def _outcome(self) -> Outcome:
        """Let the agent work until it ends, somebody ends it, or it is silent for ``CHAT_STALL_SECONDS``."""
        loop = asyncio.get_running_loop()
        work = loop.create_task(self._work(), name=f"agent of turn {self.turn.pk}")
        while not (work.done() or self._told.done()):
            patience = self._heard_at + conf.get("STALL_SECONDS") - loop.time()
            if patience <= 0:
                told = self._event("agent_silent", code=AgentStalled.code)
                logger.warning("turn %s failed: its agent is silent", self.turn.pk, extra=told)
                self._told.set_result(Outcome(TurnStatus.FAILED, AgentStalled.code, AgentStalled.message))
                break
            waits = min(patience, LONGEST_WAIT)
            await asyncio.wait({work, self._told}, timeout=waits, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            if not (await asyncio.wait({work}, timeout=CANCEL_SECONDS))[0]:
                told = self._event("agent_not_cancelled")
                logger.warning("the agent of turn %s does not let itself be cancelled", self.turn.pk, extra=told)
                _abandoned.add(work)
                work.add_done_callback(_forget)
                return self._told.result()
        outcome = self._outcome_of(work)
        return self._told.result() if self._told.done() else outcome

    def _outcome_of(self, work: asyncio.Task[Outcome]) -> Outcome:
        if work.cancelled():  # by the agent itself: whoever ends a run has told how
            return Outcome(TurnStatus.STOPPED)
        problem = work.exception()
        if problem is None:
            return work.result()
        if self._told.done():  # it did not take its cancellation well; that is not how the turn ends
            return self._told.result()
        failure = failure_of(problem)
        logger.log(
            logging.WARNING if failure is problem else logging.ERROR,
            "turn %s failed: %s (%s) %s",
            self.turn.pk,
            failure.code,
            "retryable" if failure.retryable else "final",
            failure.log,
            extra=self._event("agent_failed", code=failure.code),
        )
        return Outcome(TurnStatus.FAILED, clean_text(failure.code)[:64], clean_text(failure.text))

    async def _work(self) -> Outcome:
        with span("chat.agent", turn=self.turn.pk):
            return await self._answer()

    async def _answer(self) -> Outcome:
        earlier, message = await in_thread_with_patience(read_history, self.turn, conf.get("HISTORY_MESSAGES"))
        context = TurnContext(
            thread_id=str(self.turn.conversation),
            turn_id=self.turn.turn_id,
            user_id=self.turn.user_id,
            history=model_history([*earlier, message], conf.get("HISTORY_CHARS"), answer=self._draft.answer),
            message=message,
            model=self.turn.model,
            usage=self._draft.meter,
        )
        loop = asyncio.get_running_loop()
        agent = load_agent()
        begin_title(agent, self.turn, context, self._show)
        chunks = agent.run(context)
        count, most = 0, conf.get("MAX_ANSWER_BYTES")
        try:
            async for chunk in chunks:
                self._heard_at = loop.time()
                if not self._closed:  # an agent that was given up goes on talking
                    self._show(self._draft.feed(chunk))
                if self._log.full:
                    self._heard_at = math.inf  # it is us that the agent waits for
                    await self._log.room()
                    self._heard_at = loop.time()
                count += 1
                if count % CHUNKS_WITHOUT_PAUSE == 0:
                    await asyncio.sleep(0)
                if self._draft.canonical.error_text is not None:
                    return Outcome(TurnStatus.FAILED, AgentError.code, self._draft.canonical.error_text)
                if self._draft.canonical.aborted:
                    return Outcome(TurnStatus.STOPPED)
                if self._size > most:
                    return Outcome(TurnStatus.FAILED, AnswerTooLong.code, AnswerTooLong.message)
        finally:
            # Now, not when the garbage is collected: it may hold a provider's connection.
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        return Outcome(TurnStatus.COMPLETED)

    def _show(self, chunks: list[Chunk]) -> bool:
        """False when the turn has ended, and nothing of it is shown any more."""
        if self._closed:
            return False
        encoded = [sse.encode(chunk) for chunk in chunks]
        self._size += sum(map(len, encoded))
        self._log.add(self.stream, self.turn.epoch, encoded)
        return True


# Called with a conversation whose turn has ended while others wait for it; the runner, which stands above, puts itself
# here.
on_free: Callable[[UUID], None] | None = None
# Whether others may have been kept from renewing their leases; the heartbeat, which stands above, puts itself here.
leases_may_be_late: Callable[[], bool] = bool
# By the turn's number and epoch: a leg may begin here while the one before has not heard yet that it is parked.
_runs: dict[tuple[int, int], Run] = {}
# Turns whose stop was asked for before they ran here, if they ever will.
_stopped_early: set[int] = set()
_beginning: set[asyncio.Task[Any]] = set()
_abandoned: set[asyncio.Task[Outcome]] = set()
_draining = False


def _forget(work: asyncio.Task[Outcome]) -> None:
    _abandoned.discard(work)
    if not work.cancelled():
        work.exception()  # nobody asks any more, and asyncio would say so


def start_run(turn: StoredTurn, progress: Progress | None = None) -> Run:
    """Begin to answer a turn that was just begun in the database, or goes on with its ``progress``, on the running
    loop.
    """
    writer().on_lost, writer().on_refused = lost, _end_here
    run = _runs[turn.pk, turn.epoch] = Run(turn, progress)
    if turn.pk in _stopped_early:
        run.cancel(TurnStatus.STOPPED)
    return run


def lost(turn: int, epoch: int) -> None:
    """A turn does not stream under this epoch any more: whoever took it over ends it, and our call of the provider is
    for nothing. Unless it is our own run that has just ended or parked it.
    """
    if (run := _end_here(turn, epoch)) is not None:
        told = event("turn_taken_over", turn=turn, conversation=run.turn.conversation)
        logger.warning("turn %s was taken over; its run here is cancelled", turn, extra=told)


def _end_here(turn: int, epoch: int) -> Run | None:
    """Interrupt the run of a turn's leg; None where it is no longer, or was ended already."""
    run = _runs.get((turn, epoch))
    return run if run is not None and run.cancel(TurnStatus.INTERRUPTED) else None


def cancel(turn: int, status: TurnStatus) -> None:
    """End a run of this process early; a turn that does not run here may be about to: its stop is kept for a while."""
    ended = any(run.cancel(status) for (live, _), run in _runs.items() if live == turn)
    if not ended and status == TurnStatus.STOPPED:
        loop = asyncio.get_running_loop()
        _stopped_early.add(turn)
        loop.call_later(STOP_IS_KEPT_SECONDS, _stopped_early.discard, turn)


def live_turns() -> list[tuple[int, int]]:
    """The turns that run in this process, with their epochs. May be asked from any thread."""
    return list(_runs)


def ended_as_gone(turn: int) -> bool:
    """End a turn that is in the way of a send, if its process is gone. After the database was away no lease says so,
    until who lives has had a beat to renew them in; one that runs here lives in any case.
    """
    lives = any(live == turn for live, _ in live_turns())
    return not lives and not leases_may_be_late() and bool(recover_expired(turn))


def has_room(mine: int = 0) -> bool:
    """Whether this process runs fewer turns than it may, those counted that are just being begun, but for ``mine``."""
    return len(_runs) + len(_beginning) - mine < int(conf.get("MAX_LIVE_TURNS"))


def begin_soon(beginning: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that will begin a turn, if this process may run one more; a drain waits for it. Raises ServerFull when
    it runs as many as it may, or is about to exit.
    """
    if _draining or not has_room():
        beginning.close()
        raise ServerFull
    return waited_for(beginning)


def waited_for(beginning: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that a drain waits for, and for the run that it may begin."""
    task = asyncio.get_running_loop().create_task(beginning)
    _beginning.add(task)
    task.add_done_callback(_beginning.discard)
    return task


async def drain() -> None:
    """Take no new turns and end the live ones as ``interrupted``, stored and told to their readers.

    They get ``CHAT_DRAIN_SECONDS`` to end by themselves first.
    """
    global _draining
    _draining = True
    loop = asyncio.get_running_loop()
    deadline = loop.time() + conf.get("DRAIN_SECONDS")
    while (waiting := _live_tasks()) and loop.time() < deadline:
        await asyncio.wait(waiting, timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
    # What is just being begun may yet become a run.
    while waiting := _live_tasks():
        for run in list(_runs.values()):
            run.cancel(TurnStatus.INTERRUPTED)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)


def _live_tasks() -> set[asyncio.Task[Any]]:
    return {run.task for run in _runs.values()} | _beginning


def is_draining() -> bool:
    """Whether the process takes no turns any more, since it is about to end."""
    return _draining


def accept_turns_again() -> None:
    """Undo ``drain``: a server that starts in a process that ended one before, and whose turns are others."""
    global _draining
    _draining = False
    _stopped_early.clear()
