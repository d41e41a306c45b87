"""How far a long command has come: a bar where somebody looks at a terminal, a line now and then where nobody does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from tqdm import tqdm

EVERY = 5.0  # seconds between two lines
BAR = "{percentage:3.0f}% {bar:24} {desc} · {remaining} left"


def beside_the_bar(write: Callable[[str], object]) -> Callable[[str], None]:
    """``write`` for lines that may come while a bar is drawn: it makes room for them."""

    def written(line: str) -> None:
        with tqdm.external_write_mode():
            write(line)

    return written


class Progress:
    """A context manager. ``total`` chats, or whatever ``of`` says, will be gone through; the rate is in messages, where
    some are told. The bar is drawn on standard error, and gone in the end.
    """

    def __init__(self, total: int, say: Callable[[str], None], *, of: str = "chats") -> None:
        self._total, self._say, self._of = total, say, of
        self._done = self._messages = 0
        self._begun = self._said = time.monotonic()
        self._bar: tqdm[Any] | None = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=total, desc=self._so_far(), bar_format=BAR, leave=False, dynamic_ncols=True, mininterval=0
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, done: int, messages: int = 0) -> None:
        self._done += done
        self._messages += messages
        if self._bar is not None:
            self._bar.set_description_str(self._so_far(), refresh=False)
            self._bar.update(done)
        elif time.monotonic() - self._said > EVERY:
            self._said = time.monotonic()
            left = (self._total - self._done) * (self._said - self._begun) / max(self._done, 1)
            self._say(f"{self._so_far()} · about {max(left, 0):.0f} s left")

    def _so_far(self) -> str:
        rate = (self._messages or self._done) / max(time.monotonic() - self._begun, 0.001)
        messages = f" · {self._messages:,} messages" if self._messages else ""
        return f"{self._done:,} of {self._total:,} {self._of}{messages} · {rate:,.0f}/s"
