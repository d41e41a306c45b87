"""Spans for OpenTelemetry, where its API is there: ``chat.turn``, in it ``chat.agent``, and each ``chat.commit``. A
host that sets no SDK up pays next to nothing for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from chat import telemetry


@cache
def install() -> bool:
    """Trace from now on what ``telemetry`` tells. False, and nothing else, where the package is not there. Once in a
    process, as with ``metrics``.
    """
    try:
        from opentelemetry.trace import StatusCode, get_tracer
    except ImportError:
        return False
    tracer = get_tracer("chat")

    @contextmanager
    def begin(name: str, fields: dict[str, Any]) -> Iterator[Callable[[dict[str, Any]], None]]:
        # What an exception says may be what somebody said: only its class is told.
        with tracer.start_as_current_span(
            name, attributes=_attributes(fields), record_exception=False, set_status_on_exception=False
        ) as current:
            try:
                yield lambda more: current.set_attributes(_attributes(more))
            except Exception as problem:
                current.set_status(StatusCode.ERROR, type(problem).__name__)
                raise

    telemetry.spans.append(begin)
    return True


def _attributes(fields: dict[str, Any]) -> dict[str, int | str]:
    return {f"chat.{name}": value if isinstance(value, int) else str(value) for name, value in fields.items()}
