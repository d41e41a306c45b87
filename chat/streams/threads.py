"""What becomes of the turns of a thread, told to everybody who watches it: a second tab sees a turn begin and end.

A commit that begins, queues, parks or ends a turn, or decides on what it waits for, notifies the thread's id; each
process reads the turns of the threads that are watched in it, once for all their watchers. So does one that restores a
version of a message, and names it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from chat.models import TurnStatus
from chat.store.crossing import in_thread
from chat.store.sql import UNAVAILABLE
from chat.store.thread_turns import last_turns, turns_missed, turns_since
from chat.store.turns import StoredTurn

# What comes before an end, within one epoch.
LIFE = (TurnStatus.QUEUED, TurnStatus.STREAMING, TurnStatus.AWAITING_APPROVAL)


@dataclass(frozen=True, slots=True)
class Restored:
    """A version of a message is current again, and with it what had followed it."""

    message: int


# What a watcher is told.
Change = StoredTurn | Restored


class ThreadWatch:
    """One thread that is watched in this process, how its turns stand, and who is to be told of changes."""

    def __init__(self, thread: UUID) -> None:
        self.thread = thread
        self.position: int | None = None  # the newest turn that is known; None: not read yet
        self.unended: dict[int, StoredTurn] = {}
        self.watchers: set[asyncio.Queue[Change | None]] = set()
        self.left = asyncio.Event()

    def begin(self, position: int, turns: list[StoredTurn]) -> None:
        """Note how the thread's turns stand at first: that is no change."""
        self.position = max([position, *(turn.pk for turn in turns)])
        self.unended = {turn.pk: turn for turn in turns if not turn.ended}

    def take(self, turn: StoredTurn) -> None:
        """Note how a turn stands now. Two reads may overtake each other: what is older than what is known is left."""
        assert self.position is not None
        before = self.unended.get(turn.pk)
        if age(before) >= age(turn) if before else turn.pk <= self.position:
            return
        if turn.ended:
            self.unended.pop(turn.pk, None)
        else:
            self.unended[turn.pk] = turn
        self.position = max(self.position, turn.pk)
        self.tell(turn)

    def tell(self, change: Change | None) -> None:
        """Tell all watchers of a change; None: that no more will come."""
        for watcher in self.watchers:
            watcher.put_nowait(change)


def age(turn: StoredTurn) -> tuple[int, int, int]:
    """Where a turn is in its life: of two states of one turn the later one is the greater. One that waits grows older
    with each decision.
    """
    decided = sum(call["status"] != "pending" for call in turn.approvals)
    return turn.epoch, LIFE.index(turn.status) if turn.status in LIFE else len(LIFE), decided


_watched: dict[UUID, ThreadWatch] = {}


async def watch(thread: UUID, after: int | None = None, began: asyncio.Event | None = None) -> AsyncIterator[Change]:
    """The thread's turns that have not ended, and then each turn whenever its status changes. With ``after``, that
    turn and those behind it come first, ended or not: what a watcher has missed. In between, each restored version; one
    that nobody watched is in the history, and nowhere else. Ends only when the process does. Once ``began`` is set,
    nothing that happens is missed.

    A turn may come twice with the same status, and with an older one after a newer: see ``age``.
    """
    watched = _watched.setdefault(thread, ThreadWatch(thread))
    news: asyncio.Queue[Change | None] = asyncio.Queue()
    watched.watchers.add(news)
    try:
        await refresh([thread])
        if began is not None:
            began.set()
        opened = list(watched.unended.values())
        if after is not None:
            # That turn, too: it may have ended after whoever asks had read it, and before this watch began.
            opened = await in_thread(turns_missed, thread, after)
        for turn in opened:
            yield turn
        while (changed := await news.get()) is not None:
            yield changed
    finally:
        watched.watchers.discard(news)
        if not watched.watchers:
            watched.left.set()
            if _watched.get(thread) is watched:
                del _watched[thread]


def tell_restored(thread: UUID, message: int) -> None:
    """Tell whoever watches the thread."""
    if (watched := _watched.get(thread)) is not None:
        watched.tell(Restored(message))


async def refresh(threads: Collection[UUID] | None = None) -> None:
    """Read how the turns of watched threads stand (None: of all), in one statement."""
    wanted = [one for thread in (_watched if threads is None else threads) if (one := _watched.get(thread))]
    if not wanted:
        return
    last: dict[UUID, int] = {}
    if fresh := [one.thread for one in wanted if one.position is None]:
        last = await in_thread(last_turns, fresh)
    found = await in_thread(
        turns_since,
        {one.thread: last[one.thread] if one.position is None else one.position for one in wanted},
        [pk for one in wanted for pk in one.unended],
    )
    for one in wanted:
        turns = [turn for turn in found if turn.thread_id == one.thread]
        if one.position is None:
            one.begin(last[one.thread], turns)
        else:
            for turn in turns:
                one.take(turn)


async def end_watching(seconds: float) -> None:
    """Tell all watchers what is new and let them go, for a process that ends; wait for them for so many seconds."""
    with suppress(*UNAVAILABLE):
        await refresh()
    watches = list(_watched.values())
    for watched in watches:
        watched.tell(None)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for watched in watches:
                await watched.left.wait()
