"""The fold and its builder: what people know from other content builders, and the AI SDK's details."""

from __future__ import annotations

import json
import time
from typing import Any

from chat.protocol.canonical import Canonical
from chat.protocol.chunks import (
    Chunk,
    Part,
    reasoning_delta,
    text_delta,
    text_start,
    tool_approval_request,
    tool_input_available,
    tool_input_delta,
    tool_input_start,
    tool_output_available,
    tool_output_denied,
    tool_output_error,
)
from chat.protocol.fold import AssistantContentBuilder, fold
from chat.protocol.metadata import clean_metadata
from tests.unit.strategies import make_canonical

STEP: Part = {"type": "step-start"}


def built(*agent: Chunk) -> AssistantContentBuilder:
    """A builder with what the agent yielded so far, not ended."""
    builder, canonical = AssistantContentBuilder(), Canonical()
    for item in agent:
        for chunk in canonical.feed(item):
            builder.apply(chunk)
    return builder


def parts_of(*agent: Chunk, ending: str = "complete") -> list[Part]:
    return fold(make_canonical(list(agent), ending))


def text(words: str) -> Part:
    return {"type": "text", "text": words, "state": "done"}


def test_deltas_of_a_block_are_one_part() -> None:
    assert parts_of(*[text_delta("a", word) for word in ("one ", "two ", "three")]) == [STEP, text("one two three")]


def test_text_after_an_end_is_a_part_of_its_own() -> None:
    again = [text_delta("a", "1"), {"type": "text-end", "id": "a"}, text_delta("a", "2")]
    assert parts_of(*again) == [STEP, text("1"), text("2")]


def test_an_error_that_says_nothing_is_said_to_be_one() -> None:
    for text in ("", None, 5):
        call = {"toolCallId": "c1", "toolName": "search"}
        *_, part = parts_of(
            tool_input_available("c1", "search", {}), {"type": "tool-output-error", **call, "errorText": text}
        )
        assert part["errorText"] == "The tool failed."


def test_of_two_inputs_that_are_being_written_the_second_is_shown_where_nothing_came_of_the_first() -> None:
    builder = built(
        tool_input_start("c1", "search"), tool_input_start("c2", "search"), tool_input_delta("c2", '{"q": "tea')
    )
    _, first, second = builder.snapshot()
    assert "input" not in first
    assert second["input"] == {"q": "tea"}


def test_what_is_no_metadata_is_none() -> None:
    assert [clean_metadata(value) for value in ("words", 5, ["a"], {}, None)] == [None] * 5
    assert clean_metadata({"a": 1}) == {"a": 1}


def test_reasoning_and_text_are_two_parts_in_order() -> None:
    reasoning = {"type": "reasoning", "id": "r", "text": "hm", "state": "done"}
    assert parts_of(reasoning_delta("r", "hm"), text_delta("a", "x")) == [STEP, reasoning, text("x")]


def test_a_tool_call_is_one_part_from_start_to_output() -> None:
    start, ready = tool_input_start("c", "search"), tool_input_available("c", "search", {"q": 1})
    part: Part = {"type": "tool-search", "toolCallId": "c", "state": "input-streaming"}
    assert built(start).snapshot() == [STEP, part]
    writing = {**part, "rawInput": '{"q', "input": {}}
    assert built(start, tool_input_delta("c", '{"q')).snapshot() == [STEP, writing]
    available = {**part, "state": "input-available", "input": {"q": 1}}
    assert built(start, tool_input_delta("c", '{"q'), ready).snapshot() == [STEP, available]
    done = {**available, "state": "output-available", "output": None}
    assert built(start, ready, tool_output_available("c", None)).snapshot() == [STEP, done]
    failed = {**available, "state": "output-error", "errorText": "no"}
    assert built(start, ready, tool_output_error("c", "no")).snapshot() == [STEP, failed]


def test_a_dynamic_tool_says_its_name_in_the_part() -> None:
    call = {**tool_input_available("c", "search", {}), "dynamic": True, "providerExecuted": True}
    part = {"type": "dynamic-tool", "toolName": "search", "toolCallId": "c", "providerExecuted": True}
    assert built(call).snapshot() == [STEP, {**part, "state": "input-available", "input": {}}]


def test_a_preliminary_output_is_marked_until_the_final_one() -> None:
    call, early = tool_input_available("c", "t", {}), {**tool_output_available("c", 1), "preliminary": True}
    assert built(call, early).snapshot()[1]["preliminary"] is True
    assert "preliminary" not in built(call, early, tool_output_available("c", 2)).snapshot()[1]


def test_an_approval_tells_what_the_log_implies() -> None:
    call = [tool_input_available("c", "t", {}), tool_approval_request("c", "a")]
    assert built(*call).snapshot()[1]["approval"] == {"id": "a"}
    assert built(*call).snapshot()[1]["state"] == "approval-requested"
    granted = built(*call, tool_output_available("c", 1)).snapshot()[1]
    assert granted["approval"] == {"id": "a", "approved": True}
    denied = built(*call, tool_output_denied("c")).snapshot()[1]
    assert (denied["state"], denied["approval"]) == ("output-denied", {"id": "a", "approved": False})


def test_data_with_an_id_replaces_its_earlier_self_and_other_data_is_appended() -> None:
    chart: Chunk = {"type": "data-chart", "id": "1", "data": 1}
    note: Chunk = {"type": "data-note", "data": "n"}
    other = {**chart, "type": "data-other"}
    parts = parts_of(chart, note, note, other, {**chart, "data": 2})
    assert parts == [STEP, {**chart, "data": 2}, note, note, other]


def test_transient_data_never_enters() -> None:
    assert parts_of({"type": "data-progress", "data": 1, "transient": True}) == []


def test_each_step_with_content_leaves_a_mark() -> None:
    step: Chunk = {"type": "start-step"}
    assert parts_of(step, text_delta("a", "x"), step, step, text_delta("b", "y"), step) == [
        *[STEP, text("x")],
        *[STEP, text("y")],
    ]


def test_metadata_is_merged_deeply() -> None:
    builder = AssistantContentBuilder()
    for kind, metadata in (
        ("start", {"model": "m", "usage": {"in": 1}, "list": [1, 2]}),
        ("message-metadata", {"usage": {"out": 2}, "list": [3]}),
        ("finish", {"usage": {"in": None}, "model": {"name": "m"}}),
    ):
        builder.apply({"type": kind, "messageMetadata": metadata})
    assert builder.metadata == {"model": {"name": "m"}, "usage": {"in": None, "out": 2}, "list": [3]}
    builder.metadata["usage"].clear()
    assert builder.metadata["usage"] == {"in": None, "out": 2}


def test_interrupting_closes_text_and_fails_calls_without_output() -> None:
    builder = built(
        *[tool_input_available("done", "t", {}), tool_output_available("done", 1)],
        *[tool_input_available("asked", "t", {}), tool_approval_request("asked", "a")],
        *[tool_input_available("open", "t", {}), tool_input_start("cut", "t"), text_delta("a", "half a sen")],
    )
    builder.mark_interrupted("Interrupted.")
    _, done, asked, waiting, cut, words = builder.snapshot()
    assert done["state"] == "output-available"
    assert asked["state"] == "output-denied"
    assert (waiting["state"], waiting["errorText"]) == ("output-error", "Interrupted.")
    assert (cut["state"], cut["input"]) == ("output-error", {})
    assert words == text("half a sen")


def test_only_steps_and_data_are_nothing_to_show() -> None:
    assert built().is_empty()
    assert built({"type": "data-chart", "data": 1}).is_empty()
    assert not built(text_delta("a", "x")).is_empty()
    assert not built(tool_input_start("c", "t")).is_empty()
    assert not built({"type": "file", "url": "u", "mediaType": "m"}).is_empty()


def test_stats_count_parts_by_kind_and_their_bytes() -> None:
    assert built().stats() == {
        **dict.fromkeys(("parts", "text", "reasoning", "tool", "file", "source", "data", "step"), 0),
        **dict.fromkeys(("completed", "failed", "open"), 0),
        "bytes": 2,
    }
    builder = built(
        *[reasoning_delta("r", "hm"), tool_input_available("c", "t", {}), tool_output_available("c", 1)],
        *[{**tool_input_available("d", "t", {}), "dynamic": True}, tool_input_start("e", "t")],
        *[{"type": "source-url", "sourceId": "s", "url": "u"}, text_delta("a", "naïve")],
    )
    stats = builder.stats()
    counted = {kind: stats[kind] for kind in ("parts", "step", "reasoning", "tool", "source", "text", "data")}
    assert counted == {"parts": 7, "step": 1, "reasoning": 1, "tool": 3, "source": 1, "text": 1, "data": 0}
    assert (stats["completed"], stats["failed"], stats["open"]) == (1, 0, 2)
    compact = json.dumps(builder.snapshot(), ensure_ascii=False, separators=(",", ":"))
    assert stats["bytes"] == len(compact.encode())
    builder.mark_interrupted()
    assert (builder.stats()["failed"], builder.stats()["open"]) == (2, 0)


def test_changing_a_snapshot_changes_nothing_else() -> None:
    builder = built(tool_input_available("c", "t", {"deep": {"list": [1]}}))
    builder.snapshot()[1]["input"]["deep"]["list"].append(2)
    assert builder.snapshot()[1]["input"] == {"deep": {"list": [1]}}


def test_unknown_chunks_and_deltas_without_a_start_change_nothing() -> None:
    unknown: list[Chunk] = [{"type": "from-the-future"}, text_delta("x", "y"), tool_output_available("x", 1)]
    assert fold(unknown) == []


def test_a_token_costs_the_same_late_as_early() -> None:
    def seconds(count: int) -> float:
        builder, delta = AssistantContentBuilder(), text_delta("a", "word ")
        builder.apply(text_start("a"))
        begin = time.perf_counter()
        for _ in range(count):
            builder.apply(delta)
        return time.perf_counter() - begin

    def best(count: int) -> Any:
        return min(seconds(count) for _ in range(5))

    assert best(100_000) < 40 * best(10_000)
