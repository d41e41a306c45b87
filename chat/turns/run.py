"""A run: the task that drives the agent of one turn from the first chunk to the stored end.

It belongs to the process, not to a request: readers come and go, the run goes on.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncGenerator

from chat import conf
from chat.agents.base import AgentError, TurnContext, load_agent
from chat.errors import ServerFull, Unavailable
from chat.models import TurnStatus
from chat.protocol import sse
from chat.protocol.canonical import Canonical
from chat.protocol.chunks import Chunk
from chat.protocol.fold import AssistantContentBuilder
from chat.protocol.history import model_history
from chat.protocol.sanitize import clean_text
from chat.protocol.usage import UsageMeter
from chat.store.crossing import in_thread_with_patience
from chat.store.history import read_history
from chat.store.sql import UNAVAILABLE
from chat.store.turns import StoredTurn
from chat.streams.hub import close_stream, hand_over, open_stream
from chat.streams.writer import writer
from chat.turns import envelope
from chat.turns.finish import Outcome, finish

logger = logging.getLogger(__name__)

# An agent that never waits would keep the loop, and with it every other turn and reader.
CHUNKS_WITHOUT_PAUSE = 100


class Run:
    """One turn being answered in this process."""

    def __init__(self, turn: StoredTurn) -> None:
        self.turn = turn
        self.stream = open_stream(turn.pk)
        self._log = writer()
        self._canonical = Canonical()
        self._builder = AssistantContentBuilder()
        self._usage = UsageMeter()
        self._cancelled_as = TurnStatus.INTERRUPTED
        self._cancelled = False
        self._started = False
        self._finishing = False
        self.task = asyncio.create_task(self._run(), name=f"turn {turn.pk}")

    def cancel(self, status: TurnStatus) -> None:
        """End the run early, as ``stopped`` or ``interrupted``: what was shown so far stays. Too late, it does
        nothing.
        """
        if not self._finishing:
            self._cancelled, self._cancelled_as = True, status
            if self._started:  # a task that is cancelled before its first step would never store an end
                self.task.cancel()

    async def _run(self) -> None:
        self._started = True
        self._show(envelope.opening(self.turn))
        ended = False
        try:
            try:
                outcome = Outcome(self._cancelled_as) if self._cancelled else await self._answer()
            except asyncio.CancelledError:
                outcome = Outcome(self._cancelled_as)
            except AgentError as problem:
                logger.info("turn %s failed: %s", self.turn.pk, problem.code)
                outcome = Outcome(TurnStatus.FAILED, clean_text(problem.code)[:64], clean_text(problem.text))
            except Exception as problem:
                # Where, but not what: an exception's own words may hold the conversation or a key.
                where = "".join(traceback.format_tb(problem.__traceback__))
                logger.error("turn %s failed: %s at\n%s", self.turn.pk, type(problem).__name__, where)
                outcome = Outcome(TurnStatus.FAILED, AgentError.code, AgentError.message)
            self._finishing = True
            ended = await finish(self.turn, outcome, self.stream, self._canonical, self._builder, self._usage)
        except (*UNAVAILABLE, Unavailable):
            logger.error("the end of turn %s could not be stored; it is recovered when its lease is out", self.turn.pk)
        finally:
            _runs.pop(self.turn.pk, None)
            if ended:
                close_stream(self.stream)
            else:
                await hand_over(self.stream)

    async def _answer(self) -> Outcome:
        earlier, message = await in_thread_with_patience(read_history, self.turn, conf.get("HISTORY_MESSAGES"))
        context = TurnContext(
            thread_id=str(self.turn.thread_id),
            turn_id=self.turn.turn_id,
            user_id=self.turn.user_id,
            history=model_history([*earlier, message]),
            message=message,
            model=self.turn.model,
            usage=self._usage,
        )
        chunks = load_agent().run(context)
        count = 0
        try:
            async for chunk in chunks:
                self._show(self._canonical.feed(chunk))
                if self._log.full:
                    await self._log.room()
                count += 1
                if count % CHUNKS_WITHOUT_PAUSE == 0:
                    await asyncio.sleep(0)
                if self._canonical.error_text is not None:
                    return Outcome(TurnStatus.FAILED, AgentError.code, self._canonical.error_text)
                if self._canonical.aborted:
                    return Outcome(TurnStatus.STOPPED)
        finally:
            # Now, not when the garbage is collected: it may hold a provider's connection.
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        return Outcome(TurnStatus.COMPLETED)

    def _show(self, chunks: list[Chunk]) -> None:
        for chunk in chunks:
            self._builder.apply(chunk)
        self._log.add(self.stream, self.turn.epoch, [sse.encode(chunk) for chunk in chunks])


_runs: dict[int, Run] = {}
_draining = False


def start_run(turn: StoredTurn) -> Run:
    """Begin to answer a turn that was just begun in the database, on the running loop."""
    writer().on_lost = lost
    run = _runs[turn.pk] = Run(turn)
    return run


def lost(turn: int) -> None:
    """A turn's epoch moved on: whoever took it over ends it, and our call of the provider is for nothing."""
    if (run := _runs.get(turn)) is not None:
        logger.warning("turn %s was taken over; its run here is cancelled", turn)
        run.cancel(TurnStatus.INTERRUPTED)


def cancel(turn: int, status: TurnStatus) -> None:
    """End a run of this process early; nothing for a turn that does not run here."""
    if (run := _runs.get(turn)) is not None:
        run.cancel(status)


def live_turns() -> list[tuple[int, int]]:
    """The turns that run in this process, with their epochs. May be asked from any thread."""
    return [(run.turn.pk, run.turn.epoch) for run in list(_runs.values())]


def require_room() -> None:
    """Raises ServerFull when this process runs as many turns as it may, or is about to exit."""
    if _draining or len(_runs) >= conf.get("MAX_LIVE_TURNS"):
        raise ServerFull


async def drain() -> None:
    """Take no new turns and end the live ones as ``interrupted``, stored and told to their readers.

    They get ``CHAT_DRAIN_SECONDS`` to end by themselves first.
    """
    global _draining
    _draining = True
    tasks = {run.task for run in _runs.values()}
    if tasks:
        await asyncio.wait(tasks, timeout=conf.get("DRAIN_SECONDS"))
        for run in list(_runs.values()):
            run.cancel(TurnStatus.INTERRUPTED)
        await asyncio.wait(tasks)


def is_draining() -> bool:
    """Whether the process takes no turns any more, since it is about to end."""
    return _draining


def accept_turns_again() -> None:
    """Undo ``drain``: a server that starts in a process that ended one before."""
    global _draining
    _draining = False
