"""A turn of any kind, however it ended: what is stored is the fold of its log, and whoever joins behind any of its
chunks, in any process, over any transport, during or after, gets the rest of the same bytes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AbstractUser
from hypothesis import HealthCheck, Phase, given, seed, settings

from chat.protocol.canonical import Canonical
from chat.store.stream_log import read_log
from chat.store.tokens import create_token
from chat.testing.client import said
from chat.testing.invariants import assert_invariants
from chat.testing.scripted import Pause, script_of
from tests.acceptance.cluster import Cluster
from tests.acceptance.joins import (
    Chunk,
    Join,
    Place,
    SseJoins,
    connected,
    join_by_websocket,
    stream_chunks,
)
from tests.acceptance.scripted_agent import odd_script
from tests.acceptance.wire import frames, request
from tests.folded import assert_shown_is_stored
from tests.scale import rounds
from tests.unit.strategies import agent_output

TURNS = rounds(20, 200)
# Turns that run, and readers that join ended ones, at the same time.
AT_ONCE, READERS = 8, 16
# Readers that join a turn while it runs, per process and transport.
LIVE_JOINS = 2
PATIENCE = 30.0
SEED = 20

HANGS = Pause(600)
CALL = [
    {"type": "tool-input-start", "toolCallId": "c", "toolName": "look"},
    {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": '{"at": "the'},
    {"type": "tool-input-available", "toolCallId": "c", "toolName": "look", "input": {"at": "the clock"}},
]
THOUGHT = [{"type": "reasoning-delta", "id": "t", "delta": word} for word in ("I ", "think ", "therefore ")]


@dataclass
class Kind:
    """What is asked, how the turn ends, and after how many chunks its client stops it or leaves."""

    name: str
    text: str
    ends: frozenset[str]
    stop_after: int | None = None
    leave_after: int | None = None


@dataclass
class Ended:
    kind: Kind
    thread: str
    turn: int
    chunks: list[Chunk]
    joined_live: list[tuple[Place, list[Chunk]]] = field(default_factory=list)


def one_of_each(number: int, generated: Iterator[list[Any]]) -> Kind:
    """Every kind of turn in turn, a generated one every other time."""
    completed, failed, stopped = frozenset({"completed"}), frozenset({"failed"}), frozenset({"stopped"})
    if number % 2:
        return Kind("generated", odd_script(next(generated)), frozenset({"completed", "failed", "stopped"}))
    dice = random.Random(number)
    kinds = [
        Kind("text", f"/tokens {dice.randint(0, 40)} 2", completed),
        Kind("reasoning", "/think", completed),
        Kind("tool", "/tool", completed),
        Kind("failing", f"/fail {dice.randint(0, 9)}", failed),
        Kind("raising", "/raise", failed),
        Kind("stopped", "/tokens 2000 5", stopped, stop_after=dice.randint(1, 40)),
        Kind("stopped in a tool", script_of([*CALL[: dice.randint(1, 3)], HANGS]), stopped, stop_after=6),
        Kind("stopped in thought", script_of([*THOUGHT, HANGS]), stopped, stop_after=dice.randint(6, 8)),
        Kind("hung", "/hang", stopped, stop_after=7),
        Kind("disconnected", f"/tokens {dice.randint(20, 40)} 3", completed, leave_after=dice.randint(0, 20)),
    ]
    return kinds[number // 2 % len(kinds)]


def waits_for_nobody(output: list[Any]) -> bool:
    """Whether the turn ends of itself: one that leaves a call to its client has no end until that one answers."""
    canonical = Canonical()
    for item in output:
        canonical.feed(item)
    return not canonical.unanswered


def generated_outputs(count: int) -> Iterator[list[Any]]:
    """What agents may yield, from nearly right to nonsense."""
    outputs: list[list[Any]] = []

    @seed(SEED)
    @settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(agent_output(approvals=False))
    def collect(output: list[Any]) -> None:
        if waits_for_nobody(output):
            outputs.append(output)

    collect()
    while True:  # there may be fewer than asked for
        yield from outputs


class Conversations:
    """Turns in threads of their own, started on one server and joined on all."""

    def __init__(self, cluster: Cluster, token: str, joins: list[Join]) -> None:
        self.cluster, self.token, self.joins = cluster, token, joins
        self.readers = asyncio.Semaphore(READERS)

    async def run(self, number: int, kind: Kind) -> Ended:
        slot, thread = number % 2, f"thread-{number}"
        dice = random.Random(number)
        live: list[tuple[Place, asyncio.Task[list[Chunk]]]] = []
        data = request("POST", "/api/chat", self.token, said(thread, kind.text))
        turn, told, body, stopped = 0, 0, b"", False
        start_at = {dice.randint(1, 12) for _ in range(LIVE_JOINS)}
        async with connected(self.cluster.ports[slot]) as connection:
            async for answer in connection.watch(data):
                assert answer.status == 200, answer.body
                cursors = [cursor for cursor, _ in frames(answer.body) if cursor]
                if not cursors:
                    continue
                turn, told = int(cursors[-1].partition("-")[0]), len(cursors)
                for at in [at for at in start_at if at <= told]:
                    start_at.remove(at)
                    for place in self.places(thread, turn, dice.randint(0, told)):
                        live += [(place, asyncio.create_task(join(place))) for join in self.joins]
                if kind.stop_after is not None and told >= kind.stop_after and not stopped:
                    stopped = True
                    await self.ask(1 - slot, "POST", f"/api/chat/{thread}/stop")
                if kind.leave_after is not None and told >= kind.leave_after:
                    break
                body = bytes(answer.body)
        if kind.leave_after is not None:
            body = await self.ask(slot, "GET", f"/api/turns/{turn}/stream")
        joined = [(place, await in_time(task, f"live, {place}, {kind}")) for place, task in live]
        return Ended(kind, thread, turn, stream_chunks(body), joined)

    def places(self, thread: str, turn: int, after: int) -> Iterator[Place]:
        for slot in range(2):
            yield Place(self.cluster, self.token, slot, thread, turn, after)

    async def ask(self, slot: int, method: str, path: str) -> bytes:
        async with connected(self.cluster.ports[slot]) as connection:
            answer = await connection.ask(request(method, path, self.token))
        assert answer.status in (200, 202), answer.body
        return bytes(answer.body)

    async def join_everywhere(self, ended: Ended) -> int:
        """After the end: behind every chunk, on every server, over every transport. Returns how many have joined."""
        last = len(ended.chunks)
        places = [place for after in range(last + 1) for place in self.places(ended.thread, ended.turn, after)]
        joins = [self.check(ended, place, join) for place in places for join in self.joins]
        await asyncio.gather(*joins)
        return len(joins)

    async def check(self, ended: Ended, place: Place, join: Join) -> None:
        async with self.readers:
            assert_rest(ended, place, await in_time(join(place), f"ended, {place}, {ended.kind}"))


async def in_time(reading: Awaitable[list[Chunk]], who: str) -> list[Chunk]:
    try:
        async with asyncio.timeout(PATIENCE):
            return await reading
    except TimeoutError:
        raise AssertionError(f"a reader got no end: {who}") from None


def assert_rest(ended: Ended, place: Place, chunks: list[Chunk]) -> None:
    assert chunks == ended.chunks[place.after :], f"behind {place.cursor} on server {place.slot}: {ended.kind}"


async def converse(cluster: Cluster, token: str, joins: list[Join]) -> tuple[list[Ended], int]:
    """Run all turns, a few at a time, and join each one, live and ended."""
    conversations = Conversations(cluster, token, joins)
    running = asyncio.Semaphore(AT_ONCE)
    generated = generated_outputs(TURNS // 2)

    async def whole(number: int, kind: Kind) -> tuple[Ended, int]:
        async with running:
            ended = await conversations.run(number, kind)
            for place, chunks in ended.joined_live:
                assert_rest(ended, place, chunks)
            return ended, len(ended.joined_live) + await conversations.join_everywhere(ended)

    done = await asyncio.gather(*(whole(number, one_of_each(number, generated)) for number in range(TURNS)))
    return [ended for ended, _ in done], sum(count for _, count in done)


def assert_all_stored(ended: list[Ended]) -> None:
    for one in ended:
        assert read_log(one.turn) == [chunk for _, chunk in one.chunks], one.kind
        assert [cursor for cursor, _ in one.chunks] == [f"{one.turn}-{seq + 1}" for seq in range(len(one.chunks))]
        turn = async_to_sync(assert_shown_is_stored)([orjson.loads(chunk) for _, chunk in one.chunks])
        assert turn.status in one.kind.ends, f"{turn.status}: {one.kind}"
    assert_invariants()


@pytest.mark.proof
@pytest.mark.timeout(rounds(120, 3600))
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_whoever_joins_a_turn_anywhere_gets_the_rest_of_the_same_bytes(
    tmp_path: Path, user: AbstractUser, transport: str
) -> None:
    token = create_token(user.get_username())
    by_sse = SseJoins()
    with Cluster(
        tmp_path,
        CHAT_LISTEN_CHECK_SECONDS=60,
        CHAT_STREAM_LINGER_SECONDS=0.5,
        CHAT_AGENT="tests.acceptance.scripted_agent.agent",
    ) as cluster:

        async def talk() -> tuple[list[Ended], int]:
            try:
                return await converse(cluster, token, [by_sse if transport == "sse" else join_by_websocket])
            finally:
                by_sse.close()

        ended, joined = asyncio.run(talk())
        log = cluster.said()
        assert [line for line in log.splitlines() if " ERROR " in line and "LookupError" not in line] == []
    assert_all_stored(ended)
    print(f"{len(ended)} turns, {sum(len(one.chunks) for one in ended)} chunks, {joined} readers over {transport}")
