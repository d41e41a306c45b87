"""Cases of a parametrised test that mostly wait: they run at once, in threads, and each test waits for its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


@contextmanager
def together(
    request: pytest.FixtureRequest, parameter: str, run: Callable[[Any], T], at_once: int
) -> Iterator[dict[Any, Future[T]]]:
    """For a fixture of a module: begin ``run(case)`` for every case that the module's chosen tests have as
    ``parameter``; ``[case].result()`` waits for it and raises what it raised.
    """
    module = request.node
    cases = {
        item.callspec.params[parameter]: None
        for item in request.session.items
        if item.getparent(pytest.Module) is module and parameter in getattr(item, "callspec", _NONE).params
    }
    with ThreadPoolExecutor(at_once) as pool:
        yield {case: pool.submit(run, case) for case in cases}
        pool.shutdown(cancel_futures=True)


class _NONE:
    params: dict[str, Any] = {}
