"""The chunk vocabulary, the bytes on the wire, inputs that are still being written, merged deltas."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.protocol import chunks, sse
from chat.protocol.chunks import Chunk, defect, is_well_formed
from chat.protocol.partial_json import parse_partial
from chat.protocol.replay import replay
from chat.protocol.sanitize import MAX_DEPTH
from tests.unit.stored_parts import BROKEN_PART

# -- chunks


@pytest.mark.parametrize(
    "chunk",
    [
        chunks.text_start("a"),
        chunks.text_delta("a", "x"),
        chunks.text_end("a"),
        chunks.reasoning_start("a"),
        chunks.reasoning_delta("a", "x"),
        chunks.reasoning_end("a"),
        chunks.tool_input_start("c", "t"),
        chunks.tool_input_delta("c", "{"),
        chunks.tool_input_available("c", "t", None),
        chunks.tool_output_available("c", None),
        chunks.tool_output_error("c", "no"),
        chunks.tool_output_denied("c"),
        chunks.tool_approval_request("c", "a"),
        chunks.transient_data("data-turn", {}),
        chunks.error("no"),
        {"type": "finish", "finishReason": "stop", "messageMetadata": {}},
        {"type": "start"},
        {"type": "data-x", "data": None, "id": "1"},
    ],
)
def test_what_every_client_takes_is_well_formed(chunk: Chunk) -> None:
    assert is_well_formed(chunk)


@pytest.mark.parametrize(
    ("chunk", "why"),
    [
        (None, "not an object"),
        ({}, "unknown type None"),
        ({"type": ["text-start"]}, "unknown type ['text-start']"),
        ({"type": "reset-step"}, "unknown type 'reset-step'"),
        ({"type": "data-", "data": 1}, "unknown type 'data-'"),
        ({"type": "text-delta", "id": "a"}, "text-delta without delta"),
        ({"type": "text-delta", "id": "a", "delta": 1}, "text-delta with bad delta"),
        ({"type": "text-start", "id": "a", "seq": 1}, "text-start with unknown key 'seq'"),
        ({"type": "text-start", "id": "a", "providerMetadata": {"x": 1}}, "text-start with bad providerMetadata"),
        ({"type": "abort", "reason": "no"}, "abort with unknown key 'reason'"),
        ({"type": "finish", "finishReason": "interrupted"}, "finish with bad finishReason"),
        ({"type": "data-x", "data": 1, "transient": 1}, "data-x with bad transient"),
        ({"type": "file", "url": "u", "mediaType": "m", "providerMetadata": {}}, "file with unknown key"),
    ],
)
def test_what_some_client_refuses_is_told(chunk: Any, why: str) -> None:
    assert str(defect(chunk)).startswith(why)


def test_our_transient_data_is_not_what_needs_a_newer_client() -> None:
    assert all(chunks.is_data_type(kind) for kind in chunks.TRANSIENT_DATA)
    assert set(chunks.SHAPES) > chunks.NEEDS_V6


# -- frames


def test_an_event_is_an_id_line_and_one_line_of_compact_json() -> None:
    chunk = {"type": "text-delta", "id": "a", "delta": "line\nline\r\u2028 é"}
    frame = sse.frame(sse.encode(chunk), "7-12")
    assert frame == b'id: 7-12\ndata: {"type":"text-delta","id":"a","delta":"line\\nline\\r\xe2\x80\xa8 \xc3\xa9"}\n\n'
    assert sse.frame(b"{}") == b"data: {}\n\n"


def test_text_cannot_forge_an_event() -> None:
    evil = {"type": "text-delta", "id": "a", "delta": "x\n\nevent: done\ndata: {}\n\n"}
    assert [event.chunk for event in sse.parse(sse.frame(sse.encode(evil), "1-1"))] == [evil]


def test_a_careless_chunk_is_repaired_rather_than_lost() -> None:
    assert sse.encode({"type": "error", "errorText": "\ud83d", "n": float("nan"), "big": 2**70}) == (
        '{"type":"error","errorText":"\ufffd","n":null,"big":"1180591620717411303424"}'.encode()
    )


@given(st.lists(st.integers(0, 200)))
def test_a_stream_is_read_in_pieces_cut_anywhere(cuts: list[int]) -> None:
    events = [sse.Event("1-1", {"type": "start"}), sse.Event("1-2", {"type": "x", "d": "é"}), sse.Event(None, None)]
    stream = b": stream-open\n\n" + b"".join(
        sse.DONE if event.chunk is None else sse.frame(sse.encode(event.chunk), event.cursor) + sse.KEEP_ALIVE
        for event in events
    )
    parser, read = sse.Parser(), []
    begin = 0
    for cut in [*sorted(cuts), len(stream)]:
        read += parser.feed(stream[begin:cut])
        begin = max(begin, cut)
    assert read == events


def test_the_headers_are_the_ai_sdks_and_keep_proxies_from_buffering() -> None:
    headers = dict(sse.HEADERS)
    assert headers[b"content-type"] == b"text/event-stream"
    assert headers[b"cache-control"] == b"no-cache, no-transform"
    assert headers[b"x-accel-buffering"] == b"no"
    assert headers[b"x-vercel-ai-ui-message-stream"] == b"v1"


# -- inputs that are still being written


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("{", {}),
        ('{"a', {}),
        ('{"a":', {}),
        ('{"a": "x', {"a": "x"}),
        ('{"a": "x\\', {"a": "x"}),
        ('{"a": "x\\u00e', {"a": "x"}),
        ('{"a": "x\\\\', {"a": "x\\"}),
        ('{"a": tr', {"a": True}),
        ('{"a": -', {}),
        ('{"a": 1.', {"a": 1}),
        ('{"a": 1, "b": [1, {"c": nul', {"a": 1, "b": [1, {"c": None}]}),
        ("[1, 2", [1, 2]),
        ("[[[", [[[]]]),
        ('{"a": 1e999}', {"a": None}),
        ('{"a": ' + "9" * 5000, {"a": None}),
        ('{"a": NaN}', {}),
        ("{]", {}),
        ("-", None),
        ("nonsense", None),
        ("12x", None),
        ('{"a": 1, "b": nonsense 2', {"a": 1}),
        ('{"a": 1, "b": , 2', {"a": 1}),
    ],
)
def test_a_json_text_that_is_not_finished_gives_what_there_is(text: str, value: Any) -> None:
    known, result = parse_partial(text)
    assert result == value
    assert known == (value is not None)


def test_an_input_of_nothing_but_brackets_ends() -> None:
    whole, cut = (repr(parse_partial("[" * (MAX_DEPTH + more))[1]) for more in (0, 1))
    assert whole.count("[") == MAX_DEPTH
    assert "too deep" in cut
    assert parse_partial("[" * 100_000)[0]
    assert parse_partial('{"a":' * 100_000)[0]


# -- replay


def test_parts_that_no_chunk_makes_are_left_out_of_a_replay() -> None:
    known = {"type": "text", "text": "x"}
    foreign: list[Any] = [
        {"type": "custom", "kind": "a.b"},
        known,
        {"type": "tool-t", "toolCallId": "c", "state": "approval-responded", "input": 1, "approval": {"id": "a"}},
    ]
    assert [chunk["type"] for chunk in replay(foreign)] == [
        *["text-start", "text-delta", "text-end"],
        *["tool-input-available", "tool-approval-request"],
    ]
    assert all(is_well_formed(chunk) for chunk in replay(foreign))


@settings(max_examples=200, deadline=None)
@given(st.lists(BROKEN_PART, max_size=6))
def test_whatever_is_stored_is_replayed_in_chunks_that_every_client_takes(parts: list[Any]) -> None:
    assert [defect(chunk) for chunk in replay(parts) if not is_well_formed(chunk)] == []


def test_a_part_that_lacks_something_costs_a_replay_nothing_but_itself() -> None:
    known = {"type": "text", "text": "x"}
    lacking: list[Any] = [{"type": "text"}, {"type": "tool-t", "toolCallId": "c", "input": 1}, {"text": "y"}, None]
    told = replay([*lacking, known])
    assert [chunk["type"] for chunk in told] == ["tool-input-available", "text-start", "text-delta", "text-end"]


def test_many_frames_are_the_frames_one_by_one() -> None:
    chunks = [sse.encode({"type": "text-delta", "id": "1", "delta": text}) for text in ("a", "ü", "%b")]
    assert sse.frames(7, 3, chunks) == [sse.frame(chunk, f"7-{seq}") for seq, chunk in enumerate(chunks, 3)]
