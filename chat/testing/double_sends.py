"""One send, many times at the same instant: what retries, double clicks and impatient proxies do."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
from django.urls import reverse

from chat.protocol import sse
from chat.testing.client import Client

WAYS = 32
#: Seconds for which a stream may say nothing: the server sends a comment every fifteen.
SILENCE = 60


@dataclass(frozen=True)
class Reply:
    """What one of the senders got: a status, and the whole body without the comments that keep a stream open."""

    status: int
    body: bytes


async def double_send(client: Client, body: Any, *, ways: int = WAYS, path: str = "") -> list[Reply]:
    """Post ``body`` ``ways`` times at once to the application in this process, and read every answer to its end;
    messages of threads, unless another ``path`` is named.
    """
    start = asyncio.Barrier(ways)

    async def one() -> Reply:
        await start.wait()
        response = await client.request("POST", path or reverse("chat-send"), body)
        return Reply(response.status, _plain(response.body))

    return await asyncio.gather(*(one() for _ in range(ways)))


def double_send_over(clients: Sequence[httpx.Client], body: Any, *, ways: int = WAYS, path: str = "") -> list[Reply]:
    """The same over real connections: by turns to the servers that ``clients`` speak to, as one user."""
    start = threading.Barrier(ways)

    def one(number: int) -> Reply:
        start.wait(SILENCE)
        response = clients[number % len(clients)].post(path or reverse("chat-send"), json=body, timeout=SILENCE)
        return Reply(response.status_code, _plain(response.content))

    with ThreadPoolExecutor(ways) as pool:
        return list(pool.map(one, range(ways)))


def assert_one_turn(replies: Sequence[Reply], otherwise: Callable[[Reply], bool] = lambda reply: False) -> bytes:
    """Every sender got the same stream, byte for byte and to its end; returns it. ``otherwise`` says which replies may
    differ (a quota's refusal, say). Raises AssertionError.
    """
    streams = [reply for reply in replies if not otherwise(reply)]
    assert streams, "nobody got a stream"
    assert {reply.status for reply in streams} == {200}, Counter(reply.status for reply in replies)
    bodies = {reply.body for reply in streams}
    assert len(bodies) == 1, f"{len(bodies)} streams for one send"
    (body,) = bodies
    assert body.endswith(sse.DONE), "a stream without its end"
    return body


def _plain(body: bytes) -> bytes:
    return body.replace(sse.KEEP_ALIVE, b"")
