"""Hypothesis strategies for stored parts that no engine of ours has written."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.unit.strategies import PLAIN_JSON

KINDS = st.sampled_from(
    [
        "text",
        "reasoning",
        "file",
        "source-url",
        "source-document",
        "step-start",
        "data-chart",
        "data-",
        "tool-",
        "tool-search",
        "tool-read+file",
        "dynamic-tool",
        "hologram",
        "odd",
    ]
)
STATES = st.sampled_from(
    [
        "streaming",
        "done",
        "input-streaming",
        "input-available",
        "approval-requested",
        "approval-responded",
        "output-available",
        "output-error",
        "output-denied",
        "odd",
    ]
)
TEXTS = st.sampled_from(["hello", "", "  ", "https://example.org", "call_0", "call_1", "7-0"])
APPROVALS = st.one_of(
    st.fixed_dictionaries({}, optional={"id": st.one_of(TEXTS, st.none()), "approved": st.booleans(), "reason": TEXTS}),
    PLAIN_JSON,
)
VALUES = {
    "text": TEXTS,
    "id": TEXTS,
    "url": TEXTS,
    "mediaType": TEXTS,
    "filename": TEXTS,
    "sourceId": TEXTS,
    "title": TEXTS,
    "toolName": TEXTS,
    "toolCallId": TEXTS,
    "errorText": TEXTS,
    "state": STATES,
    "approval": APPROVALS,
    "providerExecuted": st.booleans(),
    "preliminary": st.booleans(),
    "providerMetadata": st.one_of(st.just({"x": {"y": 1}}), PLAIN_JSON),
    "callProviderMetadata": st.one_of(st.just({"x": {"y": 1}}), PLAIN_JSON),
    "rawInput": PLAIN_JSON,
    "inputEncoding": st.sampled_from(["json", "text", "odd"]),
    "toolMetadata": PLAIN_JSON,
    "providerReference": PLAIN_JSON,
    "citations": PLAIN_JSON,
    "dynamic": st.booleans(),
    "input": PLAIN_JSON,
    "output": PLAIN_JSON,
    "data": PLAIN_JSON,
}
#: Any of the keys, mostly with a value of its kind.
BROKEN_PART: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries({"type": KINDS}, optional=VALUES),
    st.fixed_dictionaries(
        {"type": KINDS, **{key: VALUES[key] for key in ("toolCallId", "state", "input")}},
        optional={key: VALUES[key] for key in ("output", "errorText", "approval", "toolName", "preliminary")},
    ),
    st.builds(
        lambda part, key, value: {**part, key: value},
        st.fixed_dictionaries({"type": KINDS}, optional=VALUES),
        st.sampled_from([*VALUES, "type"]),
        PLAIN_JSON,
    ),
    PLAIN_JSON,
)
BROKEN_PARTS: st.SearchStrategy[Any] = st.one_of(st.lists(BROKEN_PART, max_size=6), BROKEN_PART)
