"""Values that PostgreSQL, Python or a client would choke on: table 1.4 of the reference, and then some."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.errors import InvalidInput
from chat.protocol.sanitize import (
    CUT,
    MAX_DEPTH,
    MAX_SAFE_NUMBER,
    TOO_DEEP,
    check,
    clean,
    clean_text,
    split_held,
)
from tests.unit.strategies import ANY_TEXT, EVIL_JSON, PLAIN_JSON, deep_values


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def depth_of(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max(map(depth_of, children), default=0)


def as_jsonb_gives_it(value: Any) -> Any:
    """What is read back from ``jsonb``: numbers are decimals there, written without an exponent."""
    text = orjson.dumps(value).decode()
    return json.loads(text, parse_float=lambda n: _plain_number(format(decimal.Decimal(n), "f")))


def _plain_number(digits: str) -> Any:
    return float(digits) if "." in digits else int(digits)


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: float


class Model:
    def model_dump(self, *, mode: str) -> dict[str, Any]:
        return {"mode": mode, "n": math.nan}


class Liar(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no items")


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("evil", "repaired"),
    [
        ("a\x00b", "a\ufffdb"),
        ({"a\x00": 1}, {"a\ufffd": 1}),
        ("\ud83d", "\ufffd"),
        ("x\ude00y", "x\ufffdy"),
        ("\ud83d\ude00", "😀"),
        (math.nan, None),
        ([math.inf, -math.inf], [None, None]),
        (-0.0, 0),
        (1e2, 100),
        (1.10, 1.1),
        (1e400, None),
        (1e300, "1e+300"),
        (2**53 - 1, 2**53 - 1),
        (2**53, "9007199254740992"),
        (-(2**63), "-9223372036854775808"),
        ([10**5000], [None]),
        (
            {1: "a", None: "b", False: "c", 1.5: "d", (1,): "e"},
            {"1": "a", "null": "b", "false": "c", "1.5": "d", "(1,)": "e"},
        ),
        ({"__proto__": 1, "constructor": {"prototype": 2}}, {"_proto_": 1, "_constructor_": {"prototype": 2}}),
        ({"constructor": 1}, {"constructor": 1}),
        ((1, {2}), [1, [2]]),
        (b"\x00\xff", "AP8="),
        (datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC), "2026-01-02T03:00:00+00:00"),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "red"),
        (Point(math.inf), {"x": None}),
        (Model(), {"mode": "json", "n": None}),
    ],
)
def test_a_value_that_something_would_choke_on_is_repaired(evil: Any, repaired: Any) -> None:
    result = clean(evil)
    assert result == repaired
    assert type(result) is type(repaired)


def test_minus_zero_and_whole_floats_become_integers() -> None:
    assert orjson.dumps(clean([-0.0, 1e2, 1e15])) == b"[0,100,1000000000000000]"


def test_objects_that_fail_when_looked_at_are_named() -> None:
    assert "object at" in clean(object())
    assert clean({"a": Liar(b=1)}) is not None


def test_what_is_nested_too_deep_is_cut_off() -> None:
    assert clean(nested(MAX_DEPTH)) == nested(MAX_DEPTH)
    assert depth_of(clean(nested(MAX_DEPTH + 1))) == MAX_DEPTH
    assert TOO_DEEP in json.dumps(clean(nested(100_000)))
    assert depth_of(clean(CIRCLE)) == MAX_DEPTH


def test_a_value_that_holds_itself_many_times_ends() -> None:
    bomb: Any = [0]
    for _ in range(60):
        bomb = [bomb, bomb]
    assert len(orjson.dumps(clean(bomb, limit=10_000))) < 40_000


def test_a_large_value_is_cut_at_its_limit() -> None:
    assert clean("x" * 100, limit=50) == "x" * 45 + CUT
    assert clean("é" * 100, limit=50) == "é" * 22 + CUT
    assert clean({"a": "x" * 100, "b": 1}, limit=50) == {"a": "x" * 38 + CUT}
    assert clean(list(range(1000)), limit=50) == list(range(5))


@given(st.one_of(EVIL_JSON, deep_values()), st.integers(20, 2000))
@settings(deadline=None)
def test_cleaning_again_changes_nothing(value: Any, limit: int) -> None:
    once = clean(value, limit)
    assert clean(once, limit) == once


@given(st.one_of(EVIL_JSON, deep_values()))
@settings(deadline=None)
def test_a_cleaned_value_is_the_same_after_every_store(value: Any) -> None:
    result = clean(value)
    check(result, "value")
    assert orjson.loads(orjson.dumps(result)) == result
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert as_jsonb_gives_it(result) == result


@given(PLAIN_JSON)
def test_plain_json_is_kept_as_it_is(value: Any) -> None:
    try:
        check(value, "value")
    except InvalidInput:
        return
    assert clean(value) == value


@given(ANY_TEXT)
def test_a_text_held_back_at_any_place_is_whole_again(text: str) -> None:
    out, held = split_held(text)
    assert out + held == text
    assert clean_text(clean_text(text)) == clean_text(text)
    clean_text(text).encode()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("a\x00", "v"),
        ({"parts": [{"text": "ok"}, {"text": "\ud83d"}]}, "v.parts.1.text"),
        ({"a": [math.nan]}, "v.a.0"),
        ([1, math.inf], "v.1"),
        ({"n": 1e400}, "v.n"),
        ({"n": 1e16}, "v.n"),
        ({"n": MAX_SAFE_NUMBER + 1}, "v.n"),
        ([10**5000], "v.0"),
        ({"a": {"b\x00": 1}}, "v.a"),
        ({"a": {"__proto__": 1}}, "v.a"),
        ({"constructor": {"prototype": 1}}, "v"),
        (nested(MAX_DEPTH + 1), "v" + ".0" * MAX_DEPTH),
        ({"a": (1, 2)}, "v.a"),
        ({1: 2}, "v"),
        ("x" * (1 << 20), "v"),
    ],
)
def test_a_clients_value_is_refused_with_the_path_to_it(value: Any, path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(value, "v")
    assert refused.value.field == path


@pytest.mark.parametrize(
    "value", [None, True, "😀\u2028", 0.1, -0.0, MAX_SAFE_NUMBER, {"constructor": 1, "": []}, nested(MAX_DEPTH)]
)
def test_a_clients_good_value_passes(value: Any) -> None:
    check(value, "v")


def test_the_path_of_a_long_key_is_short() -> None:
    with pytest.raises(InvalidInput) as refused:
        check({"k" * 10_000: "\x00"}, "v")
    assert len(refused.value.field) < 100
