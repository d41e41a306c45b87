"""The oracle: the AI SDK's own clients against our fold, on the bytes that they would get."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from chat.protocol import chunks as made
from chat.protocol.canonical import Canonical
from chat.protocol.chunks import Chunk, is_well_formed
from chat.protocol.fold import AssistantContentBuilder, fold
from chat.protocol.mending import mend
from chat.protocol.replay import replay
from chat.protocol.sanitize import clean
from chat.protocol.sse import encode, frame
from tests.clients.oracle import NpmClients, without_decisions
from tests.unit.stored_parts import BROKEN_PARTS
from tests.unit.strategies import ENDINGS, PLAIN_JSON, VERDICTS, agent_output, decided

pytestmark = [pytest.mark.node, pytest.mark.timeout(1200)]

#: Seeded, so that a failure is everybody's failure; ``ORACLE_EXAMPLES=5000`` looks further, elsewhere each time.
thorough = settings(
    max_examples=int(os.environ.get("ORACLE_EXAMPLES", "400")),
    derandomize="ORACLE_EXAMPLES" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


def a_turn(canonical: Canonical, content: list[Chunk], ending: str) -> list[Chunk]:
    """The log of a turn as the engine writes it around the canonical chunks."""
    ids = {"message_id": 8, "turn_id": "t"}
    log = [
        {"type": "start", "messageId": "8", "messageMetadata": {"model": "demo", "a": {"from": "start"}}},
        made.transient_data("data-turn", {"turn_id": "t", "status": "streaming"}),
        made.transient_data("data-user-message-id", {**ids, "message_id": 7}),
        made.transient_data("data-assistant-message-id", ids),
        *content,
        *getattr(canonical, ending)(),
    ]
    if ending == "complete":
        finish = {"type": "finish", "finishReason": canonical.finish_reason or "stop"}
        metadata = canonical.finish_metadata or {"a": {"to": "finish"}}
        log += [made.transient_data("data-token-usage", {"total_tokens": 3}), {**finish, "messageMetadata": metadata}]
    else:
        log.append({"type": "abort"} if ending == "stop" else made.error("The model failed."))
    return log


def judged(npm_clients: NpmClients, log: list[Chunk], ending: str = "complete") -> None:
    assert all(is_well_formed(chunk) for chunk in log)
    builder = AssistantContentBuilder()
    for chunk in log:
        builder.apply(chunk)
    errors = ["The model failed."] if ending == "fail" else []
    npm_clients.agree(log, builder.snapshot(), metadata=builder.metadata, errors=errors)


@thorough
@given(output=agent_output(approvals=False), ending=ENDINGS)
def test_all_four_clients_build_the_parts_that_we_store(
    npm_clients: NpmClients, output: list[Any], ending: str
) -> None:
    canonical = Canonical()
    content = [chunk for item in output for chunk in canonical.feed(item)]
    judged(npm_clients, a_turn(canonical, content, ending), ending)


@thorough
@given(output=agent_output(approvals=True), ending=ENDINGS)
def test_clients_from_6_on_build_them_with_approvals_too(
    npm_clients: NpmClients, output: list[Any], ending: str
) -> None:
    canonical = Canonical()
    content = [chunk for item in output for chunk in canonical.feed(item)]
    judged(npm_clients, a_turn(canonical, content, ending), ending)


@thorough
@given(first=agent_output(), second=agent_output(), verdicts=VERDICTS, ending=ENDINGS)
def test_they_build_them_from_two_legs_replayed_as_one(
    npm_clients: NpmClients, first: list[Any], second: list[Any], verdicts: list[str], ending: str
) -> None:
    leg = Canonical()
    log = [chunk for item in first for chunk in leg.feed(item)] + leg.park()
    log += [{"type": "finish", "finishReason": "tool-calls"}, {"type": "start", "messageId": "8"}]
    canonical = Canonical.resume(log)
    log += decided(canonical, verdicts)
    log += [chunk for item in second for chunk in canonical.feed(item)]
    judged(npm_clients, a_turn(canonical, log, ending), ending)


@thorough
@given(output=agent_output(), ending=ENDINGS)
def test_they_build_them_from_the_stored_parts_as_well(npm_clients: NpmClients, output: list[Any], ending: str) -> None:
    canonical = Canonical()
    content = [chunk for item in output for chunk in canonical.feed(item)]
    log = a_turn(canonical, content, ending)
    parts = fold(log)
    start: Chunk = {"type": "start", "messageId": "8"}
    npm_clients.agree([start, *replay(parts), {"type": "finish"}], parts)


@thorough
@given(value=PLAIN_JSON, ascii_only=st.booleans(), share=st.floats(0, 1))
def test_an_input_that_is_being_written_looks_as_in_the_newest_client(
    npm_clients: NpmClients, value: Any, ascii_only: bool, share: float
) -> None:
    text = json.dumps(clean(value), ensure_ascii=ascii_only)
    text = text[: round(len(text) * share)]
    # Quirks of the client while an input is written, not copied: it cuts a surrogate pair between its escapes,
    # takes "1e+1" for 1, and shows nothing after an escape in a key.
    assume("\\ud" not in text and "e+" not in text and not re.search(r'[{,] ?"[^"]*\\', text))
    canonical = Canonical()
    log = canonical.feed(made.tool_input_start("c", "t")) + canonical.feed(made.tool_input_delta("c", text))
    stream = b"".join(frame(encode(chunk)) for chunk in log)
    assert npm_clients.read(stream)["ai-7"].parts == fold(log)


@thorough
@given(parts=BROKEN_PARTS)
def test_whatever_was_stored_and_is_mended_they_take_as_history(npm_clients: NpmClients, parts: Any) -> None:
    mended, _ = mend(parts, "7")
    needs_v6 = any(part.get("state") == "output-denied" or "approval" in part for part in mended)
    for version, verdict in npm_clients.read(frame(encode({"type": "start", "messageId": "7"})), mended).items():
        assert verdict.history is None or (needs_v6 and version == "ai-5"), version


def test_the_judge_tells_a_log_that_a_client_refuses(npm_clients: NpmClients) -> None:
    log = [made.text_start("a"), {**made.text_delta("a", "x"), "seq": 1}, made.text_end("a")]
    with pytest.raises(AssertionError):
        npm_clients.agree(log, fold(log))


def test_the_judge_tells_parts_that_are_not_the_clients(npm_clients: NpmClients) -> None:
    log = [made.text_start("a"), made.text_delta("a", "x"), made.text_end("a")]
    npm_clients.agree(log, fold(log))
    with pytest.raises(AssertionError):
        npm_clients.agree(log, [{"type": "text", "text": "y", "state": "done"}])
    assert without_decisions(fold(log)) == fold(log)
