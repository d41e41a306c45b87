"""Streams of turns that run elsewhere: found, followed while somebody reads, and forgotten."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from asgiref.sync import sync_to_async

from chat.store.begin import NewUserMessage, begin_turn
from chat.store.scope import Scope
from chat.store.stream_log import LogRow, append
from chat.store.threads import open_thread
from chat.store.turns import StoredTurn
from chat.streams.hub import find_stream, follow, open_stream, refresh

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


@sync_to_async
def turn_elsewhere(asker: Scope, thread: str = "t1") -> StoredTurn:
    """A turn that another process runs, with one chunk in its log."""
    turn = begin_turn(
        asker,
        open_thread(asker, thread),
        "m1",
        fingerprint="",
        request={},
        user_message=NewUserMessage([{"type": "text", "text": "Hello"}]),
    )
    append([LogRow(turn.pk, turn.epoch, 1, [b'{"type":"start"}'])], "elsewhere")
    return turn


@sync_to_async
def add_second_chunk(turn: StoredTurn) -> None:
    append([LogRow(turn.pk, turn.epoch, 2, [b'{"type":"start-step"}'])], "elsewhere")


@pytest.mark.parametrize("somebody_else_came", [False, True])
async def test_a_reader_who_comes_while_the_last_one_leaves_misses_nothing(
    asker: Scope, somebody_else_came: bool
) -> None:
    """A page that is reloaded: its new stream is found in the moment in which its old one is given up."""
    turn = await turn_elsewhere(asker)
    stream = await follow(turn.pk)
    async with aclosing(stream.read()) as first:  # type: ignore[type-var]
        await anext(first)
        found = find_stream(turn.pk)
        assert found is stream
        second = found.read(1)
    assert find_stream(turn.pk) is None
    third = (await follow(turn.pk)).read(1) if somebody_else_came else None
    reading = [asyncio.create_task(anext(reader)) for reader in (second, third) if reader]
    await add_second_chunk(turn)
    await refresh()  # what its NOTIFY does
    for one in reading:
        (frame,) = await asyncio.wait_for(one, 10)
        assert b"start-step" in frame


async def test_readers_who_wait_for_a_turn_before_it_runs_here_are_told_by_its_run(asker: Scope) -> None:
    """A second tab, or a retry, finds the turn in the moment between its commit and the begin of its run."""
    turn = await turn_elsewhere(asker)
    waiting = await follow(turn.pk)
    running = open_stream(turn.pk)
    reading = asyncio.create_task(anext(waiting.read(1)))
    running.publish(2, [b'{"type":"start-step"}'])
    (frame,) = await asyncio.wait_for(reading, 10)
    assert b"start-step" in frame
