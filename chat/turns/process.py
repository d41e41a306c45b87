"""What a process needs around its turns: ears, a pulse, and an orderly end."""

from __future__ import annotations

import asyncio

from chat.models import TurnStatus
from chat.store.turn_news import receivers_told
from chat.streams import hub, listen
from chat.streams.threads import end_watching
from chat.streams.writer import writer
from chat.turns import run, runner
from chat.turns.heartbeat import start_heartbeat, stop_heartbeat

# How long the sockets may take to be told of the last turns' ends, and closed.
GOODBYE_SECONDS = 2.0
# The same of the receivers of chat.signals.
RECEIVERS_SECONDS = 5.0


def start_process() -> None:
    """See to it that this process listens and keeps its leases, on the running loop. Costs nothing the second time,
    and does nothing in a process that is about to end.
    """
    if run.is_draining():
        return
    if stop_here not in listen.stop_handlers:
        listen.stop_handlers.append(stop_here)
        run.on_free = lambda conversation: runner.move_on(lambda: [conversation])
    listen.listen()
    start_heartbeat()


def stop_here(turn: int) -> None:
    """Somebody, somewhere, asked for the stop of a turn that may run here."""
    run.cancel(turn, TurnStatus.STOPPED)


async def end_process(*, last: bool = True) -> None:
    """Take no new turns, end and store the live ones, tell their readers and the host's receivers, and let all
    connections go. Unless this is the ``last`` that is asked of it: turns of other processes are followed for as long
    as the server keeps their readers.
    """
    await run.drain()
    await end_watching(GOODBYE_SECONDS)
    await asyncio.to_thread(stop_heartbeat)  # it may be in the middle of a recovery
    if last or not hub.is_followed():
        await listen.hush()
    await writer().close()
    await asyncio.to_thread(receivers_told, RECEIVERS_SECONDS)
    if last:
        hub.forget_unread()
