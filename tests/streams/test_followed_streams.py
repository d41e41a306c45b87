"""Streams of turns that run elsewhere: found, followed while somebody reads, and forgotten."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chat.models import Turn
from chat.store.begin import NewUserMessage, begin_turn
from chat.store.scope import Scope
from chat.store.stream_log import LogRow, append
from chat.store.threads import open_thread
from chat.store.turns import StoredTurn
from chat.streams import hub
from chat.streams.hub import close_stream, find_stream, follow, hand_over, open_stream, refresh

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


async def test_a_stream_is_found_when_its_log_was_read_and_not_before(asker: Scope) -> None:
    """Who finds it earlier would take what is there for all there is."""
    turn = await turn_elsewhere(asker)
    following = asyncio.create_task(follow(turn.pk))
    await asyncio.sleep(0)
    assert turn.pk in hub._streams
    assert find_stream(turn.pk) is None
    stream = await following
    assert find_stream(turn.pk) is stream


async def test_what_came_while_nobody_followed_is_read_by_who_found_the_stream_before(asker: Scope) -> None:
    turn = await turn_elsewhere(asker)
    stream = await follow(turn.pk)
    async with aclosing(stream.read()) as first:  # type: ignore[type-var]
        await anext(first)
        second = stream.read(1)
    await add_second_chunk(turn)  # its NOTIFY finds no stream here
    (frame,) = await asyncio.wait_for(anext(second), 10)
    assert b"start-step" in frame


async def test_who_reads_a_turn_that_is_deleted_comes_to_an_end(asker: Scope) -> None:
    gone, kept = await turn_elsewhere(asker), await turn_elsewhere(asker, "t2")
    streams = [await follow(turn.pk) for turn in (gone, kept)]
    await Turn.objects.filter(pk=gone.pk).adelete()
    await refresh()
    assert [stream.ended for stream in streams] == [True, False]


async def test_readers_who_wait_for_a_turn_before_it_runs_here_are_told_by_its_run(asker: Scope) -> None:
    """A second tab, or a retry, finds the turn in the moment between its commit and the begin of its run."""
    turn = await turn_elsewhere(asker)
    waiting = await follow(turn.pk)
    running = open_stream(turn.pk)
    reading = asyncio.create_task(anext(waiting.read(1)))
    running.publish(2, [b'{"type":"start-step"}'])
    (frame,) = await asyncio.wait_for(reading, 10)
    assert b"start-step" in frame


async def forgotten(turn: int) -> None:
    """Wait until nothing is kept of a stream; it must come soon."""
    async with asyncio.timeout(10):
        while turn in hub._streams:
            await asyncio.sleep(0.01)


async def test_an_ended_stream_is_there_for_who_comes_late_and_then_forgotten(settings: Any) -> None:
    settings.CHAT_STREAM_LINGER_SECONDS = 0.3
    stream = open_stream(1)
    stream.publish(1, [b'{"type":"start"}'])
    close_stream(stream)
    assert find_stream(1) is stream
    assert [len(piece) async for piece in stream.read()] == [1]
    await forgotten(1)


async def test_a_stream_that_rests_is_forgotten_at_once_and_the_next_leg_has_its_own(settings: Any) -> None:
    settings.CHAT_STREAM_LINGER_SECONDS = 0.05
    first = open_stream(1)
    close_stream(first, rests=True)
    assert find_stream(1) is None
    close_stream(first)  # what it is forgotten by may come late
    second = open_stream(1)
    assert second is not first
    await asyncio.sleep(0.2)
    assert find_stream(1) is second, "the stream of another leg is not the one that ended"
    assert open_stream(1) is not second, "the leg before has not come to its end here"


async def test_a_stream_that_somebody_follows_is_kept_and_one_that_nobody_does_is_not(
    asker: Scope, settings: Any
) -> None:
    settings.CHAT_STREAM_LINGER_SECONDS = 0.05
    read, unread = await turn_elsewhere(asker), await turn_elsewhere(asker, "t2")
    stream = await follow(read.pk)
    await follow(unread.pk)
    async with aclosing(stream.read()) as reader:  # type: ignore[type-var]
        await anext(reader)
        await forgotten(unread.pk)
        assert find_stream(read.pk) is stream
        assert hub.is_followed()
    assert not hub.is_followed()
    assert find_stream(read.pk) is None


async def test_a_turn_that_runs_here_keeps_its_stream_when_its_reader_leaves_and_is_nothing_to_follow() -> None:
    running = open_stream(1)
    running.publish(1, [b'{"type":"start"}'])
    async with aclosing(running.read()) as reader:  # type: ignore[type-var]
        await anext(reader)
        assert not hub.is_followed()
    assert find_stream(1) is running
    assert not hub.is_followed()


async def test_who_leaves_a_stream_leaves_the_one_in_its_place_alone(asker: Scope) -> None:
    turn = await turn_elsewhere(asker)
    before = await follow(turn.pk)
    async with aclosing(before.read()) as reader:  # type: ignore[type-var]
        await anext(reader)
        before.end()
        running = open_stream(turn.pk)
    assert find_stream(turn.pk) is running


async def test_a_process_that_ends_keeps_only_what_somebody_still_waits_for() -> None:
    streams = {number: open_stream(number) for number in range(4)}
    for stream in streams.values():
        stream.publish(1, [b'{"type":"start"}'])
    read, over = streams[0], streams[1]
    async with aclosing(read.read()) as waiting, aclosing(over.read()) as late:  # type: ignore[type-var]
        await asyncio.gather(anext(waiting), anext(late))
        for ended in (over, streams[2]):
            ended.end()
        hub.forget_unread()
        assert [find_stream(number) for number in streams] == [read, None, None, None]


async def test_a_leg_that_goes_on_elsewhere_is_not_read_from_the_run_of_the_one_before(asker: Scope) -> None:
    turn = await turn_elsewhere(asker)
    before = open_stream(turn.pk)
    assert find_stream(turn.pk, since=0) is before
    assert find_stream(turn.pk, since=1) is None
    assert await follow(turn.pk, since=0) is before
    after = await follow(turn.pk, since=1)
    assert after is not before
    assert after.last_seq == 1
    await hand_over(before)
    assert before.ended
    assert find_stream(turn.pk) is after


async def test_a_run_that_goes_on_behind_its_log_shows_all_of_it(asker: Scope) -> None:
    turn = await turn_elsewhere(asker)
    stream = open_stream(turn.pk, [b'{"type":"start"}', b'{"type":"start-step"}'])
    stream.publish(2, [b'{"type":"start-step"}', b'{"type":"finish-step"}'])  # one of them is shown already
    stream.publish(9, [b'{"type":"finish"}'])  # what is missing in between is not skipped
    close_stream(stream)
    (piece,) = [piece async for piece in stream.read()]
    assert [f"id: {turn.pk}-{seq}\n".encode() in frame for seq, frame in enumerate(piece, 1)] == [True] * 3


async def test_a_turn_that_waits_elsewhere_is_forgotten_at_once_since_it_may_go_on_anywhere(asker: Scope) -> None:
    waiting, ended = await turn_elsewhere(asker), await turn_elsewhere(asker, "t2")
    streams = [await follow(turn.pk) for turn in (waiting, ended)]
    await Turn.objects.filter(pk=waiting.pk).aupdate(status="awaiting_approval")
    await Turn.objects.filter(pk=ended.pk).aupdate(status="completed", last_seq=1)
    await refresh()
    assert [stream.ended for stream in streams] == [True, True]
    assert [find_stream(turn.pk) for turn in (waiting, ended)] == [None, streams[1]]
