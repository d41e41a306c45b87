"""What benchmarks/agent.py streams, for servers that know nothing of this project."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path


def count_run(text: str) -> None:
    """Every run of an agent leaves a line in the file that ``RUNS`` names: what a provider would bill."""
    with Path(os.environ["RUNS"]).open("a") as runs:
        runs.write(f"{text}\n")


async def tokens(text: str) -> AsyncIterator[str]:
    """The tokens that ``text`` asks for."""
    count_run(text)
    command, *figures = text.split()
    if command == "/idle":
        yield "Waiting "
        await asyncio.Event().wait()
    count, pause = int(figures[0]), 1 / float(figures[1])
    due = time.monotonic()
    for _ in range(count):
        yield f"{time.monotonic_ns()} "
        due += pause
        await asyncio.sleep(max(0.0, due - time.monotonic()))
