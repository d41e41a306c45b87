"""``/ws/threads/{id}/``: the same turns, cursors and verbs as over HTTP."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from chat.models import Message, StreamEvents, Turn
from chat.protocol import sse
from chat.streams import threads
from chat.testing.client import Client, said
from chat.testing.invariants import assert_invariants
from tests.folded import assert_log_is_stored, assert_shown_is_stored
from tests.ws.sockets import PATH, begun, chunks_of, socket

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def test_a_second_tab_sees_a_turn_begin_run_and_end(client: Client) -> None:
    await begun(client)
    async with socket(client, PATH) as tab:
        answer = await client.send("t1", "/tokens 20 2", "m1")
        frames = await tab.until(turn_id="m1", status="completed")
    assert [frame["turn"]["status"] for frame in (frames[0], frames[-1])] == ["streaming", "completed"]
    assert chunks_of(frames) == answer.chunks()
    assert [frame["cursor"] for frame in frames[1:-1]] == [event.cursor for event in sse.parse(answer.body)[:-1]]
    await assert_shown_is_stored(chunks_of(frames))


async def test_a_chunk_is_byte_for_byte_the_one_of_the_other_transport(client: Client) -> None:
    pk = await begun(client)
    body = (await client.request("GET", f"/api/turns/{pk}/stream")).body
    async with socket(client, f"{PATH}?after={pk}-0") as tab:
        await tab.until(status="completed")
    shown = [text for text in tab.texts if text.startswith('{"cursor"')]
    assert shown == [
        f'{{"cursor":"{cursor}","chunk":{chunk.decode()}}}'
        for cursor, chunk in (sse.unframe(frame + b"\n\n") for frame in body.split(b"\n\n")[:-2])
    ]


@pytest.mark.parametrize("seq", range(9))
async def test_a_reader_goes_on_at_any_cursor_also_after_the_end(client: Client, seq: int) -> None:
    pk = await begun(client)
    whole = (await client.request("GET", f"/api/turns/{pk}/stream")).chunks()
    async with socket(client, f"{PATH}?after={pk}-{seq}") as tab:
        frames = await tab.until(status="completed")
    assert chunks_of(frames) == whole[seq:]


async def test_who_comes_back_gets_the_turns_it_missed(client: Client) -> None:
    pk = await begun(client)
    for name in ("m1", "m2"):
        await client.send("t1", "/tokens 2 0", name)
    async with socket(client, f"{PATH}?after={pk}-5") as tab:
        frames = await tab.until(turn_id="m2", status="completed")
        async with client.stream("POST", "/api/chat", said("t1", "/tokens 3 5", "m3")):
            frames += await tab.until(turn_id="m3", status="completed")
    ended = [frame["turn"]["turn_id"] for frame in frames if frame.get("turn", {}).get("status") == "completed"]
    assert ended == ["m0", "m1", "m2", "m3"]
    for turn in [turn async for turn in Turn.objects.exclude(pk=pk)]:
        await assert_shown_is_stored(chunks_of(frames, turn.pk))


async def test_who_comes_back_in_the_moment_of_an_end_is_told_of_it(client: Client) -> None:
    """The turn was live when the socket was let in, and has ended when it begins to watch: no change will tell."""
    turn = await Turn.objects.aget(pk=await begun(client))
    assert turn.thread_id
    async with aclosing(threads.watch(turn.thread_id, turn.pk)) as changes:  # type: ignore[type-var]
        told = await asyncio.wait_for(anext(changes), 10)
    assert (told.pk, told.status) == (turn.pk, "completed")


async def test_an_open_socket_misses_nothing_however_late_it_began_to_watch(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    last_turns = threads.last_turns

    def late(*asked: Any) -> Any:
        time.sleep(0.5)  # enough for a whole turn, if the socket is open meanwhile
        return last_turns(*asked)

    await begun(client)
    monkeypatch.setattr(threads, "last_turns", late)
    async with socket(client, PATH) as tab:
        await tab.say({"submit": said("", "/tokens 1 0", "m1")})
        await tab.until(turn_id="m1", status="completed")


async def test_what_a_thread_without_turns_begins_is_behind_its_cursor(client: Client) -> None:
    await client.request("POST", "/api/threads/", {"id": "t1"})
    state = (await client.request("GET", "/api/threads/t1/state/")).json()
    assert state["cursor"] == "0-0"
    await client.send("t1", "/tokens 2 0", "m1")  # begun and ended before the socket is there
    async with socket(client, f"{PATH}?after=0-0") as tab:
        await tab.until(turn_id="m1", status="completed")


async def test_who_has_read_a_turn_to_its_end_needs_no_log_to_go_on(client: Client) -> None:
    await begun(client)
    await StreamEvents.objects.all().adelete()  # pruned
    cursor = (await client.request("GET", "/api/threads/t1/state/")).json()["cursor"]
    async with socket(client, f"{PATH}?after={cursor}") as tab:
        assert chunks_of(await tab.until(turn_id="m0", status="completed")) == []
        await client.send("t1", "/tokens 2 0", "m1")
        await tab.until(turn_id="m1", status="completed")


async def test_a_submit_begins_a_turn_and_its_retry_finds_it(client: Client) -> None:
    await begun(client)
    submit = {"submit": {key: value for key, value in said("", "/tokens 5 2", "m1").items() if key != "id"}, "ref": 7}
    async with socket(client, PATH) as tab:
        await tab.say(submit)
        frames = await tab.until(turn_id="m1", status="completed")
        [answer] = [frame for frame in frames if "ref" in frame]
        assert (answer["ref"], answer["turn"]["status"]) == (7, "streaming")
        await assert_shown_is_stored(chunks_of(frames))
    async with socket(client, PATH) as tab:
        await tab.say(submit)
        frames = await tab.until(turn_id="m1", status="completed")
        frames += await tab.until(turn_id="m1", status="completed")
        await assert_shown_is_stored(chunks_of(frames))
        submit["submit"]["messages"][0]["parts"][0]["text"] = "something else"  # type: ignore[index]
        await tab.say(submit)
        assert (await tab.hear()) == {
            "error": {
                "code": "turn_conflict",
                "message": "This turn id was already used for a different request.",
                "turn": (await Turn.objects.aget(turn_id="m1")).pk,
                "turn_id": "m1",
            },
            "ref": 7,
        }
    await sync_to_async(assert_invariants)()


async def test_a_run_goes_on_without_the_socket_that_began_it(client: Client) -> None:
    await begun(client)
    async with socket(client, PATH) as tab:
        await tab.say({"submit": said("", "/tokens 30 5", "m1")})
        await tab.hear()
    turn = await Turn.objects.aget(turn_id="m1")
    assert turn.status == "streaming"
    await client.request("GET", f"/api/turns/{turn.pk}/stream")
    await turn.arefresh_from_db()
    assert turn.status == "completed"


@pytest.mark.parametrize("named", [True, False])
async def test_stop_ends_the_live_turn_and_its_partial_is_kept(client: Client, named: bool) -> None:
    await begun(client)
    async with socket(client, PATH) as tab:
        await tab.say({"submit": said("", "/hang", "m1")})
        frames = await tab.until(turn_id="m1")
        while "chunk" not in (frame := await tab.hear() or {}) or frame["chunk"]["type"] != "text-delta":
            pass
        pk = frames[0]["turn"]["turn"]
        await tab.say({"stop": {"turn": pk} if named else {}, "ref": "s"})
        frames = await tab.until(turn_id="m1", status="stopped")
        answer = {"stop": {"turn": pk}, "ref": "s"}
        assert answer in frames or await tab.hear() == answer, "nothing says which of the two is first"
        assert chunks_of(frames)[-1] == {"type": "abort"}
    await assert_log_is_stored(pk)


async def test_a_queued_turn_is_told_when_it_waits_when_it_runs_and_when_it_ends(client: Client) -> None:
    await begun(client)
    async with socket(client, PATH) as tab:
        await tab.say({"submit": said("", "/hang", "m1")})
        await tab.until(turn_id="m1", status="streaming")
        await tab.say({"submit": said("", "/tokens 100 10", "m2", on_busy="enqueue"), "ref": 2})
        await tab.until(turn_id="m2", status="queued")
        await tab.say({"stop": {}})
        await tab.until(turn_id="m2", status="streaming")
        frames = await tab.until(turn_id="m2", status="completed")
    await assert_shown_is_stored(chunks_of(frames))


@pytest.mark.parametrize(
    ("frame", "code", "field"),
    [
        ("{", "invalid", "body"),
        (b"{}", "invalid", "frame"),
        ("[]", "invalid", "body"),
        ("{}", "invalid", "frame"),
        ({"submit": {}, "stop": {}}, "invalid", "frame"),
        ({"submit": []}, "invalid", "submit"),
        ({"submit": {"messages": []}}, "invalid", "messages"),
        ({"submit": {"on_busy": "dance"}}, "invalid", "submit.on_busy"),
        ({"stop": {"turn": "x"}}, "invalid", "stop.turn"),
        ({"stop": {"turn": 10**12}}, "turn_not_found", None),
        ({"approve": {}}, "invalid", "approve.decisions"),
        ({"approve": {"turn": 10**12, "decisions": [{"tool_call_id": "c", "approved": True}]}}, "turn_not_found", None),
        ('{"stop": {}, "ref": "\ud800"}', "invalid", "ref"),
    ],
)
async def test_a_bad_frame_is_answered_and_harms_nothing(
    client: Client, frame: Any, code: str, field: str | None
) -> None:
    await begun(client)
    async with socket(client, PATH) as tab:
        await tab.say(frame)
        answer = await tab.hear()
        assert answer
        assert (answer["error"]["code"], answer["error"].get("field")) == (code, field)
        await tab.say({"stop": {}, "ref": 1})
        assert await tab.hear() == {"stop": {"turn": None}, "ref": 1}


@override_settings(CHAT_MAX_BODY_BYTES=1000)
async def test_a_frame_that_is_too_large_is_refused(client: Client) -> None:
    await begun(client)
    async with socket(client, PATH) as tab:
        await tab.say({"submit": {"messages": ["x" * 1000]}})
        answer = await tab.hear()
        assert answer
        assert answer["error"]["code"] == "body_too_large"


async def test_many_sockets_of_one_thread_cost_one_read_a_change(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begun(client)
    reads = []
    monkeypatch.setattr(
        threads, "turns_since", lambda *asked, read=threads.turns_since: reads.append(1) or read(*asked)
    )
    tabs = [socket(client, PATH) for _ in range(20)]
    opened = [await tab.__aenter__() for tab in tabs]
    await asyncio.sleep(0.2)
    reads.clear()
    await client.send("t1", "/tokens 20 5", "m1")
    for tab in opened:
        await assert_shown_is_stored(chunks_of(await tab.until(turn_id="m1", status="completed")))
    assert len(reads) <= 4
    for tab in tabs:
        await tab.__aexit__(None, None, None)
    assert threads._watched == {}


async def test_a_second_tab_is_told_of_a_version_that_is_current_again(client: Client) -> None:
    await begun(client)
    again = said("t1", "/tokens 2 0", "", trigger="regenerate-message")
    assert (await client.request("POST", "/api/chat", again)).status == 200
    first = await Message.objects.filter(turn_id="m0", role="assistant").aget()
    await client.send("t2", "/tokens 1 0", "m9")
    async with socket(client, PATH) as tab, socket(client, "/ws/threads/t2/") as other:
        assert (await client.request("POST", f"/api/messages/{first.pk}/restore/", {})).status == 200
        assert await tab.hear() == {"restored": {"message_id": str(first.pk)}}
        await client.send("t2", "/tokens 1 0", "m10")
        await other.until(turn_id="m10", status="completed")
        assert not [text for text in other.texts if "restored" in text]
