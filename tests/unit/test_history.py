"""The history for the model is one that every provider accepts, whatever is stored."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.protocol.history import CUT, PROVIDER_DATA, UNFINISHED, WORDLESS, characters, model_history
from tests.scale import LONG
from tests.unit.provider_rules import assert_providers_accept
from tests.unit.stored_parts import STATES
from tests.unit.strategies import PLAIN_JSON

TEXTS = st.sampled_from(["hello", "  ", "", "\n", "word " * 20, "日本", "x"])
IDS = st.sampled_from(["call_0", "call_1", "call_0-2", "mail 7~2", ""])
METADATA = st.sampled_from([{"pydantic_ai": {"signature": "s"}}, {}, None, "odd", {"x": 1}])


def shaped(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


CALL = {"toolCallId": IDS, "state": STATES}
CALLED = {"input": PLAIN_JSON, "output": PLAIN_JSON, "errorText": TEXTS, "providerExecuted": st.booleans()}
PARTS = st.one_of(
    shaped({"type": st.just("text"), "text": TEXTS}),
    shaped({"type": st.just("text")}),
    shaped({"type": st.just("step-start")}),
    shaped({"type": st.just("reasoning"), "text": TEXTS}, providerMetadata=METADATA),
    shaped({"type": st.sampled_from(["tool-search", "tool-read file", "tool-"]), **CALL}, **CALLED),
    shaped({"type": st.just("dynamic-tool"), **CALL}, toolName=st.sampled_from(["mcp.read", 7, ""]), **CALLED),
    shaped({"type": st.just("file"), "mediaType": st.just("image/png")}, url=st.just("data:image/png;base64,AAAA")),
    shaped({"type": st.sampled_from(["data-chart", "data-mentioned-documents", PROVIDER_DATA])}, data=PLAIN_JSON),
    shaped({"type": st.sampled_from(["source-url", "unheard-of"])}, url=st.just("https://example.org")),
    st.just({"text": "no type"}),
)
MESSAGES = st.lists(
    shaped(
        {
            "id": st.sampled_from(["1", "2", "3"]),
            "role": st.sampled_from(["user", "assistant", "assistant", "system"]),
            "parts": st.lists(PARTS, max_size=8),
        },
        status=st.sampled_from(["completed", "stopped", "interrupted", "failed", None, "odd"]),
    ),
    max_size=12,
)
BUDGETS = st.sampled_from([0, 1, 30, 100, 400, 10_000])
MINE = {"id": "9", "role": "user", "parts": [{"type": "text", "text": "And now?"}]}


@pytest.mark.proof
@pytest.mark.timeout(900)
@settings(max_examples=10_000 if LONG else 300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(MESSAGES, BUDGETS)
def test_any_stored_history_becomes_one_that_providers_accept(messages: list[dict[str, Any]], budget: int) -> None:
    stored = copy.deepcopy(messages)
    history = model_history([*messages, MINE], budget)
    assert_providers_accept(history)
    assert history[-1]["parts"][-1] == MINE["parts"][0]
    assert messages == stored, "what is stored is not changed"
    assert model_history([*messages, MINE], budget) == history


@pytest.mark.proof
@pytest.mark.timeout(900)
@settings(max_examples=10_000 if LONG else 300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(MESSAGES, BUDGETS)
def test_a_budget_cuts_from_the_oldest_and_leaves_the_rest_as_it_was(
    messages: list[dict[str, Any]], budget: int
) -> None:
    messages = [message for message in messages if message["role"] != "system"]
    whole = [part for message in model_history([*messages, MINE]) for part in message["parts"]]
    kept = [part for message in model_history([*messages, MINE], budget) for part in message["parts"]]
    if kept[0] == {"type": "text", "text": CUT}:
        kept = kept[1:]
    assert [shape(part) for part in kept] == [shape(part) for part in whole[len(whole) - len(kept) :]]


def shape(part: dict[str, Any]) -> dict[str, Any]:
    """A part without the id of its call, which depends on the calls before it."""
    return {key: value for key, value in part.items() if key != "toolCallId"}


def said(text: str, role: str = "user", **keys: Any) -> dict[str, Any]:
    return {"id": text, "role": role, "parts": [{"type": "text", "text": text}], **keys}


def call(call_id: str, **keys: Any) -> dict[str, Any]:
    return {"type": "tool-search", "toolCallId": call_id, "state": "output-available", "input": {}, "output": 1, **keys}


def answer(*parts: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"id": "a", "role": "assistant", "parts": list(parts), **keys}


def texts(history: list[dict[str, Any]]) -> list[list[str]]:
    return [[part.get("text", part["type"]) for part in message["parts"]] for message in history]


@pytest.mark.parametrize("status", ["stopped", "interrupted", "failed"])
def test_an_answer_that_broke_off_is_told_as_such(status: str) -> None:
    history = model_history([said("one"), said("half", "assistant", status=status), MINE])
    assert texts(history) == [["one"], ["half"], [UNFINISHED[status], "And now?"]]


def test_an_empty_answer_is_left_out_and_a_stop_of_it_is_told() -> None:
    history = model_history([said("one"), answer(status="stopped"), said("two"), answer(status="failed"), MINE])
    assert texts(history) == [["one", UNFINISHED["stopped"], "two", "And now?"]]


def test_reasoning_whose_call_never_had_a_result_goes_with_it() -> None:
    thought = {"type": "reasoning", "text": "hm", "providerMetadata": {"x": {"signature": "s"}}}
    step = {"type": "step-start"}
    asked = call("1", state="approval-requested")
    history = model_history([said("one"), answer(step, thought, call("0"), step, thought, asked), MINE])
    assert [part["type"] for part in history[1]["parts"]] == ["step-start", "reasoning", "tool-search"]


def test_calls_with_one_id_in_two_answers_are_told_apart() -> None:
    history = model_history([said("one"), answer(call("c")), said("two"), answer(call("c"), call("c-2")), MINE])
    calls = [part["toolCallId"] for message in history for part in message["parts"] if "toolCallId" in part]
    assert calls == ["c", "c-2", "c-2-2"]


def test_a_budget_keeps_the_last_steps_of_a_long_answer_and_says_that_something_is_missing() -> None:
    step = {"type": "step-start"}
    long = answer(step, call("1", output="x" * 500), step, call("2", output="y" * 50), step, said("end")["parts"][0])
    history = model_history([said("one"), long, MINE], 200)
    assert texts(history) == [[CUT], ["step-start", "tool-search", "step-start", "end"], ["And now?"]]
    assert characters(history) <= 200 + len(CUT)


def test_what_the_user_said_last_is_there_however_long() -> None:
    history = model_history([said("one"), said("two", "assistant"), said("x" * 1000)], 100)
    assert texts(history) == [[CUT, "x" * 1000]]


def test_a_message_of_data_alone_is_a_message() -> None:
    data = {"type": "data-mentioned-documents", "data": {}}
    assert texts(model_history([{"id": "1", "role": "user", "parts": [data]}])) == [[WORDLESS]]


def test_an_answer_that_goes_on_comes_last_with_its_decisions_and_keeps_its_ids() -> None:
    decided = call("c", state="approval-responded", approval={"id": "c", "approved": True})
    history = model_history([said("one"), answer(call("c")), MINE], answer=[call("b"), decided])
    assert [message["role"] for message in history] == ["user", "assistant", "user", "assistant"]
    assert [part["toolCallId"] for part in history[-1]["parts"]] == ["b", "c"]
    assert history[1]["parts"][0]["toolCallId"] == "c-2"
