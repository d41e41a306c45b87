"""Stop against finish, from another process, at random distances: exactly one of them ends the turn.

``STOP_SEED`` repeats the distances of one run.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from chat.protocol import sse
from chat.testing.client import said
from chat.testing.invariants import EndedTurn
from chat.testing.servers import running
from tests.acceptance.database import Database
from tests.acceptance.preloaded import Nursery, Preloaded
from tests.scale import rounds

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1800)]
RACES, AT_ONCE = rounds(40, 1000), 8
WORDS = 20
WHOLE = "".join(f"w{number} " for number in range(1, WORDS + 1))
ALL = "completed", "stopped"


@pytest.fixture
def servers(database: Database, nursery: Nursery) -> Iterator[tuple[Preloaded, Preloaded]]:
    pair = Preloaded(nursery, database.url), Preloaded(nursery, database.url)
    with running(*pair):
        yield pair


async def test_a_stop_and_the_end_of_a_turn_have_exactly_one_outcome(
    servers: tuple[Preloaded, Preloaded], database: Database
) -> None:
    seed = int(os.environ.get("STOP_SEED", random.SystemRandom().randrange(10**6)))
    chance = random.Random(seed)
    # Behind which word the stop is sent, and how long after it: it arrives some words later, around the end.
    distances = [(chance.randint(WORDS - 16, WORDS), chance.uniform(0, 0.01)) for _ in range(RACES)]
    here, there = (client_of(server, database) for server in servers)
    async with here, there:
        free = asyncio.Semaphore(AT_ONCE)

        async def one(number: int, word: int, pause: float) -> tuple[bytes, httpx.Response]:
            async with free:
                return await race(here, there, f"race-{number}", word, pause)

        raced = await asyncio.gather(*(one(number, *distance) for number, distance in enumerate(distances)))

    turns = await asyncio.to_thread(database.sound)
    assert len(turns) == RACES
    for number, (seen, answer) in enumerate(raced):
        turn = turns[f"race-{number}"]
        assert seen == turn.stream, f"seed {seed}, race {number}: what was shown is not what is stored"
        assert_outcome(turn, answer, f"seed {seed}, race {number}")
    answers = [answer.json()["status"] for _, answer in raced]
    outcomes = Counter((turns[f"race-{number}"].status, told) for number, told in enumerate(answers))
    print(f"\nseed {seed}: {RACES} races, {dict(outcomes)}", flush=True)
    assert {status for status, _ in outcomes} == set(ALL), "no race at all"


async def race(
    here: httpx.AsyncClient, there: httpx.AsyncClient, thread: str, word: int, pause: float
) -> tuple[bytes, httpx.Response]:
    """What the reader of the turn got, and what the stop was answered that was sent behind a word of it."""
    seen, stop = b"", None

    async def stop_it() -> httpx.Response:
        await asyncio.sleep(pause)  # the distance
        return await there.post(f"/api/chat/{thread}/stop")

    async with here.stream("POST", "/api/chat", json=said(thread, f"/tokens {WORDS} 10")) as stream:
        async for piece in stream.aiter_raw():
            seen += piece
            if stop is None and f'"w{word} "'.encode() in seen:
                stop = asyncio.ensure_future(stop_it())
    assert stop, f"{thread} ended before word {word}: {seen[-300:]!r}"
    return seen.replace(sse.KEEP_ALIVE, b""), await stop


def assert_outcome(turn: EndedTurn, answer: httpx.Response, what: str) -> None:
    assert turn.status in ALL, what
    if turn.status == "completed":
        assert turn.text == WHOLE, what
    else:
        assert WHOLE.startswith(turn.text), what
        assert answer.json() == {"status": "stopping", "turn": turn.pk}, what
    assert turn.stream.count(b'"type":"finish"') == (turn.status == "completed"), what
    assert turn.stream.count(b'"type":"abort"') == (turn.status == "stopped"), what


def client_of(server: Preloaded, database: Database) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=server.url, headers={"Authorization": f"Bearer {database.token}"}, timeout=60, verify=False
    )
