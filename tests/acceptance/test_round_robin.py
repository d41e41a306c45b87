"""Two servers behind one address, a new connection to the other one each time: nothing is sticky.

A message is sent on one, read, resumed, stopped and sent again on whichever comes next.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from typing import Any

import httpx
import pytest

from chat.protocol import sse
from chat.testing.client import said
from chat.testing.servers import running
from tests.acceptance.database import Database
from tests.acceptance.preloaded import Nursery, Preloaded
from tests.acceptance.round_robin import one_address
from tests.scale import rounds

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1800)]
JOURNEYS, AT_ONCE = rounds(16, 400), 4
TALK, WHOLE = "/tokens 60 5", "".join(f"w{number} " for number in range(1, 61))
ENDLESS = "/tokens 100000 10"


async def test_a_reader_sends_on_one_server_and_reads_resumes_and_stops_on_the_other(
    database: Database, nursery: Nursery
) -> None:
    seed = int(os.environ.get("ROUND_ROBIN_SEED", random.SystemRandom().randrange(10**6)))
    servers = [Preloaded(nursery, database.url, CHAT_LISTEN_CHECK_SECONDS=60) for _ in range(2)]
    with running(*servers):
        async with one_address([server.port for server in servers]) as proxy, client_of(proxy.url, database) as client:
            free = asyncio.Semaphore(AT_ONCE)

            async def one(number: int) -> bytes:
                async with free:
                    return await journey(client, f"journey-{number}", random.Random(seed + number))

            seen = await asyncio.gather(*map(one, range(JOURNEYS)))
        turns = await asyncio.to_thread(database.sound)
    for number in range(JOURNEYS):
        turn = turns[f"journey-{number}"]
        assert seen[number] == turn.stream, f"seed {seed + number}: the pieces are not the stream"
        assert turn.status == "stopped" or turn.text == WHOLE
    print(
        f"\nseed {seed}: {JOURNEYS} journeys, {dict(Counter(turn.status for turn in turns.values()))}, "
        f"connections {list(proxy.served.values())}",
        flush=True,
    )
    assert min(proxy.served.values()) >= JOURNEYS


async def journey(client: httpx.AsyncClient, thread: str, chance: random.Random) -> bytes:
    """Send, hang up, go on, and so forth; all that was read, put together."""
    stops = chance.random() < 0.5
    body = said(thread, ENDLESS if stops else TALK, turn_id=f"{thread}-turn")
    seen = await read(client, "POST", "/api/chat", chance.randint(1, 30), json=body)
    for _ in range(chance.randint(1, 4)):
        if seen.endswith(sse.DONE):
            break
        seen += await resume(client, thread, seen, chance.randint(1, 20), by_header=chance.random() < 0.5)
    if stops:
        answer = (await client.post(f"/api/chat/{thread}/stop")).raise_for_status()
        assert answer.status_code == 202
    if not seen.endswith(sse.DONE):
        seen += await resume(client, thread, seen)
    again = await read(client, "POST", "/api/chat", json=body)
    assert again == seen, f"{thread}: the same send again gets another stream"
    return seen


async def resume(
    client: httpx.AsyncClient, thread: str, seen: bytes, events: int | None = None, *, by_header: bool = False
) -> bytes:
    cursor = sse.parse(seen)[-1].cursor
    assert cursor
    path, headers = f"/api/chat/{thread}/stream", {}
    if by_header:
        headers["Last-Event-ID"] = cursor
    else:
        path += f"?after={cursor}"
    return await read(client, "GET", path, events, headers=headers)


async def read(client: httpx.AsyncClient, method: str, path: str, events: int | None = None, **request: Any) -> bytes:
    """The stream to its end; or so many events of it, then hang up: what came of a further one is lost."""
    seen = b""
    async with client.stream(method, path, **request) as stream:
        assert stream.status_code == 200
        async for piece in stream.aiter_raw():
            seen += piece
            if events is not None and seen.count(b"\n\n") >= events:
                break
    whole = [event for event in seen.split(b"\n\n")[:-1] if not event.startswith(b":")]
    kept = whole if events is None else whole[:events]
    return b"".join(event + b"\n\n" for event in kept)


def client_of(url: str, database: Database) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url,
        headers={"Authorization": f"Bearer {database.token}"},
        limits=httpx.Limits(max_keepalive_connections=0),  # a connection each time, and so the other server
        timeout=60,
        verify=False,
    )
