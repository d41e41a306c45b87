"""What holds for any agent output at all, by hypothesis."""

from __future__ import annotations

import json
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.protocol.canonical import Canonical
from chat.protocol.chunks import Chunk, defect
from chat.protocol.fold import AssistantContentBuilder, fold
from chat.protocol.replay import replay
from chat.testing.part_shapes import assert_valid_parts
from tests.unit.strategies import ANY_TEXT, ENDINGS, VERDICTS, agent_output, canonical_logs, decided, make_canonical

often = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
DELTA_KEYS = {"text-delta": "delta", "reasoning-delta": "delta", "tool-input-delta": "inputTextDelta"}


@often
@given(agent_output(), ENDINGS)
def test_any_agent_output_becomes_chunks_that_every_client_takes(output: list[Any], ending: str) -> None:
    for chunk in make_canonical(output, ending):
        assert defect(chunk) is None
        assert orjson.loads(orjson.dumps(chunk)) == json.loads(json.dumps(chunk, allow_nan=False)) == chunk


@often
@given(canonical_logs())
def test_every_beginning_of_a_log_folds_to_valid_parts(log: list[Chunk]) -> None:
    builder = AssistantContentBuilder()
    for length, chunk in enumerate(log, 1):
        builder.apply(chunk)
        parts = builder.snapshot()
        assert_valid_parts(parts, ended=length == len(log))
        assert parts == fold(log[:length])


@often
@given(canonical_logs())
def test_steps_nest_and_every_part_lies_in_one(log: list[Chunk]) -> None:
    inside = False
    for chunk in log:
        if chunk["type"] == "start-step":
            assert not inside
            inside = True
        elif chunk["type"] == "finish-step":
            assert inside
            inside = False
        elif chunk["type"].endswith(("-start", "-end", "file")) or chunk["type"].startswith("source-"):
            assert inside
    assert not inside


@often
@given(canonical_logs())
def test_block_and_call_ids_are_used_once(log: list[Chunk]) -> None:
    blocks = [chunk["id"] for chunk in log if chunk["type"] in ("text-start", "reasoning-start")]
    assert len(blocks) == len(set(blocks))
    for kind in ("tool-input-start", "tool-input-available", "tool-approval-request"):
        calls = [chunk["toolCallId"] for chunk in log if chunk["type"] == kind]
        assert len(calls) == len(set(calls))


@often
@given(agent_output(), ENDINGS)
def test_an_ending_comes_once_and_nothing_after_it(output: list[Any], ending: str) -> None:
    canonical = Canonical()
    for item in output:
        canonical.feed(item)
    getattr(canonical, ending)()
    assert canonical.complete() == canonical.stop() == canonical.fail() == canonical.park() == []
    assert all(canonical.feed(item) == [] for item in output)


@often
@given(canonical_logs())
def test_canonical_chunks_stay_as_they_are(log: list[Chunk]) -> None:
    assert make_canonical(list(log)) == log


@often
@given(agent_output(), ENDINGS, st.data())
def test_a_log_cut_off_anywhere_can_be_ended(output: list[Any], ending: str, data: st.DataObject) -> None:
    log = make_canonical(output, ending)
    cut = log[: data.draw(st.integers(0, len(log)))]
    ended = cut + Canonical.resume(cut).stop("Interrupted.")
    assert_valid_parts(fold(ended), ended=True, cut_off=True)
    builder = AssistantContentBuilder()
    for chunk in cut:
        builder.apply(chunk)
    builder.mark_interrupted("Interrupted.")
    assert builder.snapshot() == fold(ended)


@often
@given(agent_output(), agent_output(), VERDICTS, ENDINGS)
def test_a_second_leg_goes_on_where_the_first_parked(
    first: list[Any], second: list[Any], verdicts: list[str], ending: str
) -> None:
    canonical = Canonical()
    log = [chunk for item in first for chunk in canonical.feed(item)] + canonical.park()
    waiting = [call.id for call in canonical.unanswered]
    resumed = Canonical.resume(log)
    assert [call.id for call in resumed.unanswered] == waiting
    for chunk in decided(resumed, verdicts):
        log.append(chunk)
        assert_valid_parts(fold(log))
    for item in second:
        log += resumed.feed(item)
    log += getattr(resumed, ending)()
    assert all(defect(chunk) is None for chunk in log)
    assert_valid_parts(fold(log), ended=True)


@often
@given(agent_output(), ENDINGS, st.data())
def test_a_delta_split_anywhere_gives_the_same_parts(output: list[Any], ending: str, data: st.DataObject) -> None:
    split: list[Any] = []
    for item in output:
        kind = item.get("type") if isinstance(item, dict) else None
        key = DELTA_KEYS.get(kind) if isinstance(kind, str) else None
        text = item.get(key) if key else None
        if isinstance(text, str) and len(text) > 1 and "providerMetadata" not in item:
            at = data.draw(st.integers(0, len(text)))
            split += [{**item, key: text[:at]}, {**item, key: text[at:]}]
        else:
            split.append(item)
    assert fold(make_canonical(split, ending)) == fold(make_canonical(output, ending))


@often
@given(st.lists(ANY_TEXT), st.data())
def test_a_text_in_utf_16_halves_is_put_together(texts: list[str], data: st.DataObject) -> None:
    text = "".join(texts).encode("utf-16-le", "surrogatepass")
    units = [text[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(text), 2)]
    pieces = [{"type": "text-delta", "id": "a", "delta": unit} for unit in units]
    expected = text.decode("utf-16-le", "replace").replace("\x00", "\ufffd")
    parts = fold(make_canonical(pieces))
    assert "".join(part.get("text", "") for part in parts) == expected


@often
@given(canonical_logs(), st.integers(0, 60))
def test_a_replay_of_parts_folds_to_those_parts(log: list[Chunk], length: int) -> None:
    for part_of_log in (log, log[:length]):
        parts = fold(part_of_log)
        again = replay(parts)
        assert fold(again) == parts
        assert all(defect(chunk) is None for chunk in again)
    assert make_canonical(list(replay(fold(log)))) == replay(fold(log))


@often
@given(canonical_logs())
def test_a_snapshot_is_the_callers_own(log: list[Chunk]) -> None:
    builder = AssistantContentBuilder()
    for chunk in log:
        builder.apply(chunk)
    taken = builder.snapshot()
    before = json.dumps(taken)
    for part in taken:
        part.clear()
    assert json.dumps(builder.snapshot()) == before
