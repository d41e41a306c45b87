"""Any stored parts become ones that every client and provider takes, and what the engine stores is such already."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from chat.protocol.fold import fold
from chat.protocol.history import model_history
from chat.protocol.mending import UNREADABLE, mend, read_stored
from chat.protocol.sanitize import MAX_DEPTH
from chat.protocol.tool_calls import NO_RESULT
from chat.testing.part_shapes import assert_valid_part
from tests.scale import rounds
from tests.unit.provider_rules import assert_providers_accept
from tests.unit.stored_parts import BROKEN_PARTS
from tests.unit.strategies import canonical_logs

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1800)]

often = settings(
    max_examples=rounds(500, 10_000),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    deadline=None,
)
ASKED = {"id": "1", "role": "user", "parts": [{"type": "text", "text": "And now?"}]}


@often
@given(canonical_logs())
def test_what_the_engine_stores_is_left_as_it_is(log: list[dict[str, Any]]) -> None:
    parts = fold(log)
    assert mend(parts, "7") == (parts, [])


@often
@given(BROKEN_PARTS)
def test_whatever_is_stored_becomes_parts_that_are_whole(parts: Any) -> None:
    stored = copy.deepcopy(parts)
    mended, wrong = mend(parts, "7")
    assert parts == stored, "what is given is not changed"
    assert bool(wrong) == (mended != parts)
    assert mend(mended, "7") == (mended, [])
    calls = [part["toolCallId"] for part in mended if "toolCallId" in part]
    assert len(calls) == len(set(calls))
    history = model_history([ASKED, {"id": "7", "role": "assistant", "parts": mended}, ASKED])
    assert_providers_accept(history)


@often
@given(BROKEN_PARTS)
def test_a_history_with_parts_that_nobody_has_mended_is_told_all_the_same(parts: Any) -> None:
    assert_providers_accept(model_history([ASKED, {"id": "7", "role": "assistant", "parts": parts}, ASKED]))
    assert_providers_accept(model_history([{"id": "7", "role": "user", "parts": parts}]))


CALL = {"type": "tool-search", "toolCallId": "c", "input": {"q": "x"}}


@pytest.mark.parametrize(
    ("part", "mended"),
    [
        ({**CALL, "state": "input-available"}, {**CALL, "state": "output-error", "errorText": NO_RESULT}),
        ({**CALL, "state": "output-available"}, {**CALL, "state": "output-available", "output": None}),
        ({**CALL, "state": "odd", "output": 7}, {**CALL, "state": "output-available", "output": 7}),
        (
            {**CALL, "state": "approval-requested", "approval": {"id": "a"}},
            {**CALL, "state": "output-denied", "approval": {"id": "a", "approved": False}},
        ),
        (
            {**CALL, "toolCallId": None, "state": "output-error", "errorText": "No."},
            {**CALL, "toolCallId": "call-7-0", "state": "output-error", "errorText": "No."},
        ),
        ({"type": "text", "text": "Hi", "state": "streaming"}, {"type": "text", "text": "Hi", "state": "done"}),
        ("Hi", {"type": "text", "text": "Hi", "state": "done"}),
        ({"type": "text"}, {"type": UNREADABLE, "data": {"type": "text"}}),
        ({"type": "hologram", "x": 1}, {"type": UNREADABLE, "data": {"type": "hologram", "x": 1}}),
        (7, {"type": UNREADABLE, "data": 7}),
    ],
)
def test_each_kind_of_damage_is_mended_in_its_way(part: Any, mended: dict[str, Any]) -> None:
    assert mend([part], "7")[0] == [mended]
    if mended["type"] != UNREADABLE:
        assert_valid_part(mended, ended=True)


def test_a_value_may_be_as_deep_in_a_part_as_the_engine_lets_it_be() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH):
        deep = [deep]
    parts = [{"type": "data-chart", "data": deep}]
    assert mend(parts, "7") == (parts, [])
    mended, wrong = mend([{"type": "odd", "data": deep}], "7")
    assert wrong
    assert mend(mended, "7") == (mended, [])


def test_what_is_no_list_is_made_one() -> None:
    assert mend(None, "7")[0] == []
    assert mend("Hi", "7")[0] == [{"type": "text", "text": "Hi", "state": "done"}]
    assert mend({"type": "step-start"}, "7")[0] == [{"type": "step-start"}]


@pytest.mark.parametrize("text", ["[1e999]", f"[{10**400}]", f"[{'[' * 5000}{']' * 5000}]"])
def test_values_that_only_postgres_can_read_are_read(text: str) -> None:
    mended, wrong = mend(read_stored(text), "7")
    assert [part["type"] for part in mended] == [UNREADABLE] or wrong
    assert mend(mended, "7") == (mended, [])
