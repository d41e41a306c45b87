"""Tool calls in canonical order: who may say what about a call, and when."""

from __future__ import annotations

import pytest

from chat.protocol import tool_calls
from chat.protocol.canonical import Canonical
from chat.protocol.chunks import (
    Chunk,
    reasoning_end,
    text_delta,
    text_end,
    text_start,
    tool_approval_request,
    tool_input_available,
    tool_input_delta,
    tool_input_start,
    tool_output_available,
    tool_output_denied,
    tool_output_error,
)
from chat.protocol.tool_calls import MAX_CALL_ID
from tests.unit.chunk_lists import START_STEP, a_call, in_step
from tests.unit.strategies import make_canonical


def test_a_whole_tool_call_comes_through() -> None:
    agent = [
        *[tool_input_start("c", "search"), tool_input_delta("c", '{"q":'), tool_input_delta("c", "1}")],
        *[a_call(value={"q": 1}), tool_output_available("c", {"found": []})],
    ]
    assert make_canonical(agent) == in_step(*agent)


def test_a_tool_call_closes_text_and_reasoning() -> None:
    log = make_canonical([text_delta("a", "x"), a_call(), text_delta("a", "y")])
    assert log[3:6] == [text_end("a"), a_call(), text_start("a~2")]


def test_input_without_a_start_begins_a_call() -> None:
    assert make_canonical([a_call(), tool_output_available("c", 1)]) == in_step(a_call(), tool_output_available("c", 1))


@pytest.mark.parametrize(
    "chunk",
    [
        tool_input_delta("x", "{}"),
        tool_output_available("x", 1),
        tool_output_error("x", "no"),
        tool_output_denied("x"),
        tool_approval_request("x", "a"),
        tool_input_start("", "search"),
        tool_input_start(" ", "search"),
        tool_input_start("x", " "),
        tool_input_start("x", "t" * 257),
        tool_input_start("x" * (MAX_CALL_ID + 1), "search"),
        {"type": "tool-input-start", "toolCallId": "x"},
        text_end("x"),
        reasoning_end("x"),
    ],
)
def test_what_belongs_to_nothing_known_is_dropped(chunk: Chunk) -> None:
    assert make_canonical([chunk]) == []


def test_repetitions_are_dropped() -> None:
    start, ready, out = tool_input_start("c", "search"), a_call(), tool_output_available("c", 1)
    agent = [start, start, ready, start, ready, a_call(value=2), tool_input_delta("c", "{"), out, out, ready]
    assert make_canonical([*agent, tool_output_error("c", "late")]) == in_step(start, ready, out)


def test_a_call_id_that_comes_again_in_a_later_step_is_another_call() -> None:
    once = [a_call("call_0"), tool_output_available("call_0", 1)]
    again = [a_call("call_0~2"), tool_output_available("call_0~2", 1)]
    third = [a_call("call_0~3"), tool_output_available("call_0~3", 1)]
    log = make_canonical([*once, START_STEP, *once, START_STEP, *once])
    assert log == [*in_step(*once), *in_step(*again), *in_step(*third)]


def test_names_of_the_greatest_length_are_taken_and_fit_when_they_come_again() -> None:
    call = [tool_input_available("c" * MAX_CALL_ID, "t" * 256, {}), tool_output_available("c" * MAX_CALL_ID, 1)]
    log = make_canonical([*call, START_STEP, *call])
    assert log[:4] == in_step(*call)
    assert log[5]["toolCallId"].endswith("c~2")
    assert len(log[5]["toolCallId"]) <= MAX_CALL_ID


def test_a_call_keeps_its_first_name_and_is_dynamic_throughout() -> None:
    start = {**tool_input_start("c", "first"), "dynamic": True}
    log = make_canonical([start, tool_input_available("c", "second", {}), tool_output_error("c", "no")])
    assert log == in_step(
        start,
        {**tool_input_available("c", "first", {}), "dynamic": True},
        {**tool_output_error("c", "no"), "dynamic": True},
    )


def test_keys_that_an_older_client_refuses_are_left_out() -> None:
    extra = {"title": "T", "toolMetadata": {}, "providerMetadata": {"x": {"y": 1}}, "seq": 1}
    call = [tool_input_start("c", "search"), a_call(), tool_output_available("c", 1)]
    log = make_canonical([{**chunk, **extra} for chunk in call])
    # The thought signature of a call travels with its input, where 5.0.200 takes it, too.
    call[1] = {**call[1], "providerMetadata": {"x": {"y": 1}}}
    assert log == in_step(*call)


def test_preliminary_outputs_are_followed_by_the_final_one() -> None:
    early = {**tool_output_available("c", 1), "preliminary": True}
    agent = [a_call(), early, {**early, "output": 2}, tool_output_available("c", 3)]
    assert make_canonical(agent) == in_step(*agent)


def test_the_last_preliminary_output_of_a_completed_turn_is_the_final_one() -> None:
    early = {**tool_output_available("c", 1), "preliminary": True}
    assert make_canonical([a_call(), early]) == in_step(a_call(), early, tool_output_available("c", 1))
    assert make_canonical([a_call(), early], "park") == make_canonical([a_call(), early])
    stopped = in_step(a_call(), early, tool_output_error("c", tool_calls.STOPPED))
    assert make_canonical([a_call(), early], "stop") == stopped


def test_an_input_error_is_an_input_and_an_error() -> None:
    broken = {"type": "tool-input-error", "toolCallId": "c", "toolName": "search", "input": "{", "errorText": "no"}
    assert make_canonical([broken]) == in_step(a_call(value="{"), tool_output_error("c", "no"))


def test_a_tool_waits_for_approval_only_once() -> None:
    ask = tool_approval_request("c", "a")
    agent = [a_call(), {**ask, "signature": "s", "isAutomatic": True}, ask, tool_output_denied("c")]
    assert make_canonical(agent) == in_step(a_call(), ask, tool_output_denied("c"))


def test_a_denial_that_nobody_was_asked_for_is_an_error() -> None:
    log = make_canonical([a_call(), tool_output_denied("c")])
    assert log[2]["type"] == "tool-output-error"


# -- what people decide


def parked(*agent: Chunk) -> Canonical:
    """The state of a leg that goes on behind these chunks of the one before."""
    canonical = Canonical()
    return Canonical.resume([chunk for item in agent for chunk in canonical.feed(item)] + canonical.park())


def test_a_call_that_was_allowed_is_not_denied_by_an_ending() -> None:
    following = parked(a_call(), tool_approval_request("c", "a"))
    assert following.allow("c") == []
    assert not following.unanswered
    assert following.stop() == [tool_output_error("c", tool_calls.STOPPED)]


def test_an_input_that_a_person_changed_is_told_and_asked_about_again() -> None:
    following = parked(a_call(), tool_approval_request("c", "a"))
    changed = following.allow("c", {"q": "other\x00"})
    assert changed == [a_call(value={"q": "other\ufffd"}), tool_approval_request("c", "a")]
    assert following.allow("c", {"q": "again"}) == [], "once"
    assert following.feed(tool_output_available("c", 1)) == [tool_output_available("c", 1)]


def test_a_changed_input_of_an_earlier_step_is_not_told_since_newer_clients_would_make_it_a_second_call() -> None:
    text = {"type": "text-delta", "id": "t", "delta": "x"}
    following = parked(a_call(), tool_approval_request("c", "a"), {"type": "finish-step"}, text)
    assert following.allow("c", {"q": "other"}) == []


def test_what_the_provider_runs_itself_waits_for_nobody() -> None:
    canonical = Canonical()
    canonical.feed({**a_call(), "providerExecuted": True})
    canonical.feed({**a_call("d"), "providerExecuted": False})
    assert [call.id for call in canonical.unanswered] == ["d"]
    assert canonical.park()[0] == tool_output_error("c", tool_calls.NO_RESULT)
