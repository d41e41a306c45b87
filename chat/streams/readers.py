"""The open readers of this process, and the end of those who may not read any more.

Who was let in may log out, lose a token or the conversation while the stream is open. All readers are asked about
together, every ``CHAT_ACCESS_CHECK_SECONDS``, so an open stream still holds no connection and no thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from chat import conf
from chat.access.grants import Grant, standing
from chat.errors import AccessLost
from chat.store.crossing import in_thread
from chat.telemetry import event, measure

logger = logging.getLogger(__name__)


class _Reader:
    def __init__(self, grant: Grant, conversation: UUID) -> None:
        self.grant = grant
        self.conversation = conversation
        self.lost = False
        self._task = asyncio.current_task()

    def end(self) -> None:
        assert self._task is not None
        if not self.lost:
            self.lost = True
            self._task.cancel()


_readers: set[_Reader] = set()
_check: asyncio.Task[None] | None = None


@contextmanager
def while_allowed(grant: Grant, conversation: UUID) -> Iterator[None]:
    """Around the reading of a conversation by the current task: it is cancelled, and AccessLost raised, as soon as the
    reader is found to have no right to it any more.
    """
    reader = _Reader(grant, conversation)
    _readers.add(reader)
    measure("chat_readers", 1)
    _see_to_it()
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not reader.lost or (task is not None and task.uncancel()):
            raise
        raise AccessLost from None
    finally:
        _readers.discard(reader)
        measure("chat_readers", -1)
        _see_to_it()


def _see_to_it() -> None:
    """Somebody looks as long as there are readers, and no longer."""
    global _check
    if not _readers:
        if _check is not None:
            _check.cancel()
            _check = None
    elif _check is None or _check.done() or _check.get_loop() is not asyncio.get_running_loop():
        _check = asyncio.get_running_loop().create_task(_look(), name="chat access")


async def _look() -> None:
    while _readers:
        await asyncio.sleep(conf.get("ACCESS_CHECK_SECONDS"))
        readers = list(_readers)
        try:
            allowed = await in_thread(standing, [(reader.grant, reader.conversation) for reader in readers])
        except Exception as problem:  # the database is away; nobody is shut out for that
            name = type(problem).__name__
            logger.warning("open streams could not be checked: %s", name, extra=event("access_unchecked", problem=name))
            continue
        for reader, stays in zip(readers, allowed, strict=True):
            if not stays and reader in _readers:
                reader.end()
