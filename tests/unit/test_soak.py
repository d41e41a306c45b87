"""The soak tells whatever broke in it, however short, and its page says what that was."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.soak import carried
from benchmarks.soak_page import wrong


async def visitor(over: asyncio.Event) -> None:
    await over.wait()


async def broken() -> None:
    raise AssertionError("two busy turns in a thread")


async def test_an_invariant_that_was_broken_for_a_moment_ends_the_soak_with_its_reason() -> None:
    over = asyncio.Event()
    tasks = [asyncio.create_task(one) for one in (visitor(over), broken(), visitor(over))]
    with pytest.raises(AssertionError, match="two busy turns"):
        await carried(tasks, 60, over)
    assert all(task.done() for task in tasks), "the others came to their end"


async def test_what_breaks_after_the_end_was_called_is_told_as_well() -> None:
    over = asyncio.Event()

    async def breaks_late() -> None:
        await over.wait()
        await broken()

    with pytest.raises(AssertionError, match="two busy turns"):
        await carried([asyncio.create_task(breaks_late())], 0.01, over)


async def test_a_soak_that_is_sound_ends_in_time_and_names_who_does_not_come_to_an_end() -> None:
    over = asyncio.Event()
    hangs = asyncio.create_task(asyncio.sleep(60))
    assert await carried([asyncio.create_task(visitor(over)), hangs], 0.01, over, patience=0.01) == {hangs}


def test_the_page_of_a_soak_names_each_fault_and_error() -> None:
    faults = ["say: AssertionError 500 for POST /api/chat", "say: AssertionError 500 for POST /api/chat", "x\ny" * 400]
    told = wrong({"faults": faults, "errors": {"request_failed": 3}})
    assert "- 2 x say: AssertionError 500 for POST /api/chat" in told
    assert "- 3 x logged: request_failed" in told
    assert all("\n" not in line and len(line) < 220 for line in told)
    assert wrong({"faults": [], "errors": {}}) == []
