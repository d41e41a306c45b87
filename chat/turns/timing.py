"""How long an answer took, as its message's metadata tells it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any


class Stopwatch:
    """Begins to run when it is made."""

    def __init__(self) -> None:
        self._at = datetime.now(UTC)
        self._begun = time.monotonic()
        self._spoke: float | None = None

    def spoke(self) -> None:
        """Something of the answer is there to be shown; only the first time counts."""
        if self._spoke is None:
            self._spoke = time.monotonic()

    def told(self) -> dict[str, Any]:
        """When the answer was begun, and milliseconds: until its first chunk, if there was one, and until now."""
        told: dict[str, Any] = {"started_at": self._at.isoformat(timespec="milliseconds")}
        if self._spoke is not None:
            told["first_chunk_ms"] = round((self._spoke - self._begun) * 1000)
        return {**told, "duration_ms": round((time.monotonic() - self._begun) * 1000)}
