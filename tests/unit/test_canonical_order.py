"""The rules of canonical order, one by one."""

from __future__ import annotations

import pytest

from chat.protocol import tool_calls
from chat.protocol.blocks import MAX_BLOCK_ID, MAX_DELTA_CHARS
from chat.protocol.canonical import MAX_NAME_CHARS, MAX_URL_CHARS, Canonical
from chat.protocol.chunks import (
    reasoning_delta,
    reasoning_end,
    reasoning_start,
    text_delta,
    text_end,
    text_start,
    tool_approval_request,
    tool_input_delta,
    tool_input_start,
    tool_output_available,
    tool_output_denied,
    tool_output_error,
)
from tests.unit.chunk_lists import FINISH_STEP, START_STEP, a_call, in_step
from tests.unit.strategies import make_canonical

DENIED = tool_output_denied("c")


# -- blocks


def test_text_comes_through_with_a_step_around_it() -> None:
    agent = [text_start("a"), text_delta("a", "Hello "), text_delta("a", "you"), text_end("a")]
    assert make_canonical(agent) == in_step(*agent)


def test_an_empty_block_leaves_nothing() -> None:
    empty = [text_start("a"), text_delta("a", ""), text_end("a"), reasoning_start("r"), reasoning_end("r")]
    assert make_canonical(empty) == []


def test_a_block_starts_with_its_first_content() -> None:
    canonical = Canonical()
    assert canonical.feed(text_start("a")) == []
    assert canonical.feed(text_delta("a", "x")) == [START_STEP, text_start("a"), text_delta("a", "x")]


def test_reasoning_without_text_is_kept_for_what_its_provider_hid_in_it() -> None:
    hidden = {"anthropic": {"redactedData": "…"}}
    agent = [{**reasoning_start("r"), "providerMetadata": hidden}, reasoning_end("r")]
    assert make_canonical(agent) == in_step(*agent)


def test_hidden_reasoning_that_starts_at_the_end_closes_the_text_before_it() -> None:
    hidden = {"providerMetadata": {"openai": {"itemId": "i"}}}
    agent = [{**reasoning_delta("r", ""), **hidden}, text_delta("a", "x")]
    text = [text_start("a"), text_delta("a", "x"), text_end("a")]
    assert make_canonical(agent) == in_step(*text, {**reasoning_start("r"), **hidden}, reasoning_end("r"))


def test_a_signature_on_an_empty_delta_goes_with_the_end() -> None:
    signed = {"providerMetadata": {"anthropic": {"signature": "s"}}}
    agent = [reasoning_delta("r", "hm"), {**reasoning_delta("r", ""), **signed}, reasoning_end("r")]
    end = {**reasoning_end("r"), **signed}
    assert make_canonical(agent) == in_step(reasoning_start("r"), reasoning_delta("r", "hm"), end)


def test_a_delta_without_a_start_gets_one_and_an_end() -> None:
    for odd in ({}, {"id": None}, {"id": ["no name"]}):
        assert make_canonical([{"type": "text-delta", "delta": "x", **odd}]) == in_step(
            text_start("text"), text_delta("text", "x"), text_end("text")
        )


def test_text_closes_reasoning_and_reasoning_closes_text() -> None:
    agent = [reasoning_delta("r", "hm"), text_delta("a", "x"), reasoning_delta("r", "oh")]
    assert make_canonical(agent) == in_step(
        *[reasoning_start("r"), reasoning_delta("r", "hm"), reasoning_end("r")],
        *[text_start("a"), text_delta("a", "x"), text_end("a")],
        *[reasoning_start("r~2"), reasoning_delta("r~2", "oh"), reasoning_end("r~2")],
    )


def test_a_start_alone_closes_nothing() -> None:
    agent = [reasoning_delta("r", "hm"), text_start("a"), reasoning_delta("r", "m"), text_end("a")]
    whole = [reasoning_start("r"), reasoning_delta("r", "hm"), reasoning_delta("r", "m"), reasoning_end("r")]
    assert make_canonical(agent) == in_step(*whole)


def test_two_texts_may_be_written_side_by_side() -> None:
    agent = [text_delta("a", "1"), text_delta("b", "2"), text_delta("a", "3")]
    kinds = [(chunk["type"], chunk["id"]) for chunk in make_canonical(agent)[1:-1]]
    assert kinds == [
        *[("text-start", "a"), ("text-delta", "a"), ("text-start", "b"), ("text-delta", "b")],
        *[("text-delta", "a"), ("text-end", "a"), ("text-end", "b")],
    ]


def test_one_id_for_text_and_reasoning_becomes_two() -> None:
    ids = [chunk["id"] for chunk in make_canonical([reasoning_delta("0", "hm"), text_delta("0", "x")])[1:-1]]
    assert ids == ["0"] * 3 + ["0~2"] * 3


def test_a_huge_delta_is_cut_into_pieces() -> None:
    text = "x" * (2 * MAX_DELTA_CHARS + 1)
    agent = [text_delta("a", text), text_delta("a", text), text_delta("a", text[:MAX_DELTA_CHARS])]
    deltas = [chunk["delta"] for chunk in make_canonical(agent) if "delta" in chunk]
    assert [len(delta) for delta in deltas] == [MAX_DELTA_CHARS, MAX_DELTA_CHARS, 1] * 2 + [MAX_DELTA_CHARS]
    assert "".join(deltas) == 2 * text + text[:MAX_DELTA_CHARS]


def test_a_delta_of_an_open_block_keeps_what_its_provider_says_of_it() -> None:
    signed = {**text_delta("a", "y"), "providerMetadata": {"google": {"thoughtSignature": "s"}}}
    agent = [text_delta("a", "x"), signed]
    assert make_canonical(agent) == in_step(text_start("a"), *agent, text_end("a"))


def test_a_long_block_id_fits_when_it_comes_again_and_one_that_is_too_long_is_none() -> None:
    long = "n" * MAX_BLOCK_ID
    again = [text_delta(long, "x"), text_end(long)]
    log = make_canonical([*again, *again, text_delta(long + "n", "x")])
    first, second, third = [chunk["id"] for chunk in log if chunk["type"] == "text-start"]
    assert (first, third) == (long, "text")
    assert second.endswith("n~2")
    assert len(second) <= MAX_BLOCK_ID


def test_half_a_character_waits_for_its_other_half() -> None:
    canonical = Canonical()
    assert canonical.feed(text_delta("a", "\ud83d")) == []
    assert canonical.feed(text_delta("a", "\ude00"))[-1] == text_delta("a", "😀")
    assert canonical.feed(text_delta("a", "x\ud83d"))[-1] == text_delta("a", "x")
    assert canonical.feed(text_end("a")) == [text_delta("a", "\ufffd"), text_end("a")]


# -- steps


def test_a_step_begins_with_its_first_part() -> None:
    assert make_canonical([START_STEP, FINISH_STEP, START_STEP, text_delta("a", "x"), FINISH_STEP]) == in_step(
        text_start("a"), text_delta("a", "x"), text_end("a")
    )


def test_a_start_step_ends_the_step_before() -> None:
    log = make_canonical([START_STEP, a_call(), tool_output_available("c", 1), START_STEP, text_delta("a", "x")])
    assert log == [
        *in_step(a_call(), tool_output_available("c", 1)),
        *in_step(text_start("a"), text_delta("a", "x"), text_end("a")),
    ]


def test_a_step_does_not_end_while_an_input_is_written() -> None:
    agent = [tool_input_start("c", "search"), FINISH_STEP, START_STEP, a_call(), tool_output_available("c", 1)]
    assert make_canonical(agent) == in_step(*[chunk for chunk in agent if "step" not in chunk["type"]])


def test_an_output_for_an_earlier_step_opens_none() -> None:
    log = make_canonical([a_call(), FINISH_STEP, tool_output_available("c", 1)])
    assert log == [*in_step(a_call()), tool_output_available("c", 1)]


def test_a_reset_step_cannot_unsay_anything() -> None:
    log = make_canonical([text_delta("a", "x"), a_call(), {"type": "reset-step"}, text_delta("a", "y")])
    assert log == [
        *in_step(
            *[text_start("a"), text_delta("a", "x"), text_end("a"), a_call()],
            tool_output_error("c", tool_calls.TAKEN_BACK),
        ),
        *in_step(text_start("a~2"), text_delta("a~2", "y"), text_end("a~2")),
    ]


# -- endings


@pytest.mark.parametrize(
    ("ending", "reason"),
    [("complete", tool_calls.NO_RESULT), ("stop", tool_calls.STOPPED), ("fail", tool_calls.FAILED)],
)
def test_every_ending_closes_everything(ending: str, reason: str) -> None:
    agent = [a_call("ready"), tool_input_start("c", "search"), tool_input_delta("c", '{"q": "pa'), text_delta("a", "x")]
    log = make_canonical(agent, ending)
    assert log[-5:] == [
        text_end("a"),
        tool_output_error("ready", reason),
        a_call(value={"q": "pa"}),
        tool_output_error("c", reason),
        FINISH_STEP,
    ]


def test_an_approval_that_nobody_gave_is_a_denial() -> None:
    agent = [a_call(), tool_approval_request("c", "a")]
    for ending in ("complete", "stop", "fail"):
        assert make_canonical(agent, ending) == in_step(*agent, DENIED)


def test_a_parked_leg_keeps_its_calls_waiting_and_the_next_one_answers_them() -> None:
    canonical = Canonical()
    agent = [a_call(), tool_approval_request("c", "a"), a_call("client"), tool_input_start("cut", "search")]
    log = [chunk for item in agent for chunk in canonical.feed(item)] + canonical.park()
    assert log[-3:] == [a_call("cut"), tool_output_error("cut", tool_calls.NO_RESULT), FINISH_STEP]
    assert [(call.id, call.state) for call in canonical.unanswered] == [("c", "asked"), ("client", "ready")]
    following = Canonical.resume(log)
    # A framework says the call again on its way to the output.
    assert following.feed(a_call()) == []
    assert following.feed(tool_output_available("c", 1)) == [tool_output_available("c", 1)]
    assert following.feed(text_delta("a", "x"))[0] == START_STEP
    assert following.stop()[-2:] == [tool_output_error("client", tool_calls.STOPPED), FINISH_STEP]


# -- the rest


def test_what_an_agent_says_of_the_turn_is_kept_and_not_sent() -> None:
    canonical = Canonical()
    assert (canonical.error_text, canonical.aborted) == (None, False)
    said = [
        {"type": "start", "messageId": "mine"},
        {"type": "error", "errorText": "quota\x00"},
        {"type": "abort", "reason": "why"},
        {"type": "finish", "finishReason": "interrupted", "messageMetadata": {"a": 1}},
        "[DONE]",
    ]
    assert [chunk for item in said for chunk in canonical.feed(item)] == []
    assert (canonical.finish_reason, canonical.finish_metadata) == ("other", {"a": 1})
    assert (canonical.error_text, canonical.aborted, canonical.dropped) == ("quota\ufffd", True, 1)


def test_what_a_leg_said_of_its_end_is_not_said_of_the_next() -> None:
    log = [{"type": "data-turn", "data": {}}, {"type": "finish", "finishReason": "stop", "messageMetadata": {"a": 1}}]
    following = Canonical.resume([*log, {"type": "error", "errorText": "no"}, {"type": "abort"}])
    assert (following.finish_reason, following.finish_metadata, following.error_text) == (None, None, None)
    assert (following.aborted, following.dropped) == (False, 0)


def test_metadata_of_the_agents_start_becomes_a_message_of_its_own() -> None:
    metadata = {"a": 1, "constructor": 2, "nested": {"__proto__": 3}}
    log = make_canonical([{"type": "start", "messageMetadata": metadata}])
    assert log == [{"type": "message-metadata", "messageMetadata": {"a": 1, "nested": {}}}]


def test_our_own_data_chunks_are_not_an_agents_to_send() -> None:
    canonical = Canonical()
    assert canonical.feed({"type": "data-turn", "data": {"status": "failed"}, "transient": True}) == []
    assert canonical.dropped == 1


def test_transient_data_needs_no_step_and_replaced_data_no_new_one() -> None:
    progress = {"type": "data-progress", "data": 1, "transient": True}
    chart = {"type": "data-chart", "id": "a", "data": 1}
    log = make_canonical([progress, {**chart, "transient": False}, FINISH_STEP, {**chart, "data": 2}])
    assert log == [progress, *in_step(chart), {**chart, "data": 2}]


def test_what_only_the_newest_client_knows_becomes_data() -> None:
    custom = {"type": "custom", "kind": "a.b", "providerMetadata": {"x": {}}}
    data = {"kind": "a.b", "providerMetadata": {"x": {}}}
    assert make_canonical([custom]) == in_step({"type": "data-custom", "data": data})


def test_a_file_that_cannot_be_sent_whole_is_left_out() -> None:
    image = {"type": "file", "url": "data:image/png;base64,AA", "mediaType": "image/png"}
    assert make_canonical([{**image, "providerMetadata": {"x": {}}}]) == in_step(image)
    largest = {**image, "url": "x" * MAX_URL_CHARS}
    assert make_canonical([largest]) == in_step(largest)
    assert make_canonical([{**image, "url": largest["url"] + "x"}]) == []


def test_a_kind_of_data_has_a_name_that_fits() -> None:
    longest = {"type": "data-" + "x" * (MAX_NAME_CHARS - 5), "data": 1}
    assert make_canonical([longest]) == in_step(longest)
    assert make_canonical([{**longest, "type": longest["type"] + "x"}]) == []


@pytest.mark.parametrize("said", [5, None, ["x"], {"text": "x"}])
def test_a_delta_that_is_no_text_says_nothing_whatever_its_provider_says_of_it(said: object) -> None:
    signed = {"type": "text-delta", "id": "a", "delta": said, "providerMetadata": {"google": {"thoughtSignature": "s"}}}
    assert make_canonical([text_start("a"), signed]) == []


@pytest.mark.parametrize("garbage", [None, 7, "text", b"data: {}\n\n", [], {}, {"type": 7}, {"type": "unknown"}])
def test_garbage_is_dropped_and_counted(garbage: object) -> None:
    canonical = Canonical()
    assert canonical.feed(garbage) == []
    assert canonical.dropped == 1
