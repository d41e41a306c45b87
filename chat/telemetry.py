"""What the application tells of its own work while it happens: records for a log, figures, spans, and commits.

Nothing here knows who listens: a log formatter, ``chat.metrics``, ``chat.tracing``, a test. What is told holds ids,
codes and numbers, and never what people or models say, or a key: ``Fields`` is all there is.

The commits that a turn's life hangs on are announced by name, before and after: ``begin``, ``append``, ``finish``,
``park`` and ``decide`` (of a turn that waits and goes on), ``take`` and ``recover`` (the two of a recovery),
``enqueue``, ``promote``, ``claim`` (by a worker, of a turn that was begun elsewhere); and the part of a commit that
writes the mirror of a copilot chat, ``mirror``. A test stops or kills the process there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypedDict, Unpack
from uuid import UUID

# Called with ``<name>:before`` and ``<name>:after``, in the thread that commits.
commit_observers: list[Callable[[str], None]] = []
# Called with the name of a figure, a value and labels, in whatever thread; must be quick, and raise nothing.
measures: list[Callable[[str, float, dict[str, str]], None]] = []
# Called with the name of a span and its fields; what they give is held while the work goes on, and takes more fields.
Begun = AbstractContextManager[Callable[[dict[str, Any]], None]]
spans: list[Callable[[str, dict[str, Any]], Begun]] = []


class Fields(TypedDict, total=False):
    """What a record or a span may hold. No ``thread`` or ``process``: Python's log records have their own."""

    turn: int  # its primary key
    conversation: UUID  # of the thread or the copilot chat
    status: str
    code: str  # of an error
    problem: str  # the class of an exception
    milliseconds: int
    first_chunk_ms: int
    total_tokens: int
    number: int  # of what the event is about
    commit: str
    place: str  # a class or a path of ours


def event(name: str, **fields: Unpack[Fields]) -> dict[str, Any]:
    """For ``extra=`` of a log call: the record gets ``event`` and the fields as attributes, which a JSON formatter
    writes as keys. docs/operations.md lists the events.
    """
    return {"event": name, **fields}


def measure(name: str, value: float = 1, **labels: str) -> None:
    """Tell one value of a figure: what to count on, or what was measured, in seconds."""
    for tell in measures:
        tell(name, value, labels)


@contextmanager
def span(name: str, **fields: Unpack[Fields]) -> Iterator[Callable[[Fields], None]]:
    """Around a piece of work that a trace shows; what it gives takes fields that are only known in the end."""
    with ExitStack() as held:
        takers = [held.enter_context(begin(name, dict(fields))) for begin in spans]

        def add(more: Fields) -> None:
            for take in takers:
                take(dict(more))

        yield add


@contextmanager
def commit(name: str) -> Iterator[None]:
    """Around one commit. A commit that fails has no ``after``, and is not measured."""
    _tell(f"{name}:before")
    begun = time.perf_counter()
    with span("chat.commit", commit=name):
        yield
    measure("chat_commit_seconds", time.perf_counter() - begun, commit=name)
    _tell(f"{name}:after")


def _tell(point: str) -> None:
    for observer in commit_observers:
        observer(point)
