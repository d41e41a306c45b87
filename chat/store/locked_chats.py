"""Work on copilot chats under their row locks, a few of them in one transaction, so that no writer waits for long."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from psycopg.errors import LockNotAvailable
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from chat.store.drift import prepared
from chat.store.sql import UNAVAILABLE, IntegrityError, connection, drop_broken_connections, rows

T = TypeVar("T")
Work = Callable[[Sequence[UUID]], T]

# Seconds for which one transaction is meant to hold its locks. It gets as many chats as that, by what the last ones
# took; a machine that is busy with others may take three times as long.
HELD = 0.03
# Bytes of arrays, as they are stored, in the first transaction, and the most in any.
FIRST_BYTES, MOST_BYTES = 128 * 1024, 4 * 1024 * 1024
ATTEMPTS = 6
PAUSES = wait_random_exponential(multiplier=0.1, max=2)  # between them


class Chat(Protocol):
    @property
    def id(self) -> UUID: ...

    @property
    def size(self) -> int: ...


def patiently(work: Callable[[], T]) -> T:
    """Do it again where the database was away for a moment, a lock not to be had, a deadlock met, or a row there that
    somebody wrote without the chat's lock. What ``work`` writes must be one transaction. Raises the last of its errors.
    """
    again = Retrying(
        retry=retry_if_exception_type((*UNAVAILABLE, IntegrityError)),
        stop=stop_after_attempt(1 if connection().in_atomic_block else ATTEMPTS),
        wait=PAUSES,
        before_sleep=lambda _: None if connection().is_usable() else drop_broken_connections(),
        reraise=True,
    )
    return again(work)


class LockedChats:
    """Takes chats under their locks. ``held`` are the seconds for which each transaction held its locks, ``busy`` the
    chats that somebody else held all the time, ``behind`` those whose array lacks messages. On the last two no work is
    done, and none on a chat that was deleted meanwhile.
    """

    def __init__(self, *, also_behind: bool = False) -> None:
        self.held: list[float] = []
        self.busy: list[UUID] = []
        self.behind: list[UUID] = []
        self._also_behind = also_behind
        self._bytes: float = FIRST_BYTES

    def each(self, chats: Iterable[Chat], work: Work[T], *, at_once: int = 1) -> Iterator[T]:
        """Give all the chats to ``work``, a few at a time, in a transaction that holds their locks; its results, each
        after its commit. A transaction that fails is done again: ``work`` has no effects but in the database. Not to be
        called inside a transaction, which would keep all the locks. ``at_once`` transactions may run side by side, each
        on a connection of its own.

        Race: nobody waits for one chat while holding others. What somebody else holds is left for the end, and then
        waited for alone.
        """
        taken: list[Chat] = []
        transactions = self._one_by_one if at_once == 1 else partial(self._side_by_side, at_once)
        for group, done in transactions(self._groups(chats), work):
            self.held.append(done.held)
            self.behind += done.behind
            taken += [one for one in group if one.id not in done.locked]
            if done.result is not None:
                self._learn(sum(one.size for one in group), done.held)
                yield done.result
        for one in taken:
            try:
                done = _transaction([one], work, LOCK, also_behind=self._also_behind)
            except UNAVAILABLE as problem:
                if not isinstance(problem.__cause__, LockNotAvailable):
                    raise
                self.busy.append(one.id)
            else:
                self.held.append(done.held)
                self.behind += done.behind
                if done.result is not None:
                    yield done.result

    def _groups(self, chats: Iterable[Chat]) -> Iterator[list[Chat]]:
        waiting = deque(sorted(chats, key=lambda one: one.id))
        while waiting:
            group = [waiting.popleft()]
            size = group[0].size
            while waiting and size + waiting[0].size <= self._bytes:
                group.append(waiting.popleft())
                size += group[-1].size
            yield group

    def _one_by_one(self, groups: Iterator[list[Chat]], work: Work[T]) -> Iterator[tuple[list[Chat], _Done[T]]]:
        for group in groups:
            yield group, _transaction(group, work, LOCK_FREE, also_behind=self._also_behind)

    def _side_by_side(
        self, at_once: int, groups: Iterator[list[Chat]], work: Work[T]
    ) -> Iterator[tuple[list[Chat], _Done[T]]]:
        def transaction(group: list[Chat]) -> _Done[T]:
            try:
                return _transaction(group, work, LOCK_FREE, also_behind=self._also_behind)
            finally:
                connection().close()  # this thread's: back to the pool

        with ThreadPoolExecutor(at_once, thread_name_prefix="locked-chats") as threads:
            running: deque[tuple[list[Chat], Future[_Done[T]]]] = deque()
            for group in groups:
                running.append((group, threads.submit(transaction, group)))
                if len(running) > at_once:
                    group, done = running.popleft()
                    yield group, done.result()
            for group, done in running:
                yield group, done.result()

    def _learn(self, size: int, held: float) -> None:
        fitting = size * HELD / max(held, 0.001)
        self._bytes = min((self._bytes + fitting) / 2, MOST_BYTES)


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    """A transaction: the chats whose locks could be had, those of them whose array lacks messages, seconds for which
    it held them, and what the work on the others gave; None where there was none.
    """

    locked: set[UUID]
    behind: list[UUID]
    held: float
    result: T | None


def _transaction(group: Sequence[Chat], work: Work[T], lock: str, *, also_behind: bool) -> _Done[T]:
    def locked_and_worked() -> tuple[list[UUID], list[UUID], T | None, float]:
        with prepared(SETTINGS):
            begun = time.monotonic()
            locked = rows(lock, chats=[one.id for one in group])
            behind = [] if also_behind else [one["id"] for one in locked if one["array_behind"]]
            wanted = [one["id"] for one in locked if one["id"] not in behind]
            result = work(wanted) if wanted else None
        return wanted, behind, result, begun

    wanted, behind, result, begun = patiently(locked_and_worked)
    return _Done({*wanted, *behind}, behind, time.monotonic() - begun, result)


# The commits wait for no disk: what a crash undoes, the next run finds again, and the record of a run that has finished
# is written behind all of them. A process that is stopped in here must not keep its locks.
SETTINGS = """
       set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '500ms', true),
       set_config('idle_in_transaction_session_timeout', '5s', true)
"""
LOCK = """
SELECT id, array_behind FROM copilot_chats WHERE id = ANY (%(chats)s::uuid[]) FOR NO KEY UPDATE
"""
LOCK_FREE = f"{LOCK} SKIP LOCKED"
