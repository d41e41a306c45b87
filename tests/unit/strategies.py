"""Hypothesis strategies for what agents yield, from well-formed to hopeless. For every test that folds.

``agent_output`` is the one to use; ``canonical_logs`` runs it through ``Canonical`` with one of the endings.
"""

from __future__ import annotations

import datetime
import decimal
import itertools
import uuid
from typing import Any

from hypothesis import strategies as st

from chat.protocol.canonical import Canonical
from chat.protocol.chunks import Chunk

#: Names are few, so that chunks meet the block or call of another.
NAMES = st.sampled_from(["a", "b", "text", "0", "constructor"])
CALLS = st.sampled_from(["call_0", "call_1", "call_2"])
TOOLS = st.sampled_from(["search", "get_weather", "run-code"])
#: Text of every kind that came in handy to break something, and ordinary words.
NASTY = st.sampled_from(
    ["\x00", "a\x00b", "\ud83d", "\ude00", "\ud83d\ude00", "x\ud800", "😀", "e\u0301", "\u2028", '"\\', "\n\n"]
)
WORDS = st.sampled_from(["w ", "hello ", "<b>bold</b>", "naïve ", "日本 ", '{"a": 1', "}", ""])
ANY_TEXT = st.one_of(WORDS, NASTY, st.text(st.characters(codec=None), max_size=8))

JSON_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), st.floats(-1e15, 1e15), st.text(max_size=6)
)
#: JSON as a well-behaved agent yields it.
PLAIN_JSON = st.recursive(
    JSON_LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)


class _Hostile:
    def __str__(self) -> str:
        raise RuntimeError("not even a name")


_EVIL_LEAVES = st.one_of(
    JSON_LEAVES,
    ANY_TEXT,
    st.sampled_from([float("nan"), float("inf"), -0.0, 1e2, 1e16, 1e23, 1e300, 5e-324, 2**53, 2**63, 2**64]),
    st.sampled_from([10**400, -(10**4000), decimal.Decimal("1.10"), uuid.UUID(int=7), b"\xff\x00", {1, 2}]),
    st.sampled_from([datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), datetime.date(2026, 1, 2), (1, 2)]),
    st.builds(_Hostile),
    st.builds(object),
)
_EVIL_KEYS = st.one_of(
    st.text(max_size=3),
    st.sampled_from(["__proto__", "constructor", "prototype", "toJSON", "a\x00", "\ud800", ""]),
    st.sampled_from([1, 1.5, None, True, (1, 2), float("nan"), b"k"]),
)
#: Anything at all as a value.
EVIL_JSON = st.recursive(
    _EVIL_LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_EVIL_KEYS, inner, max_size=3)),
    max_leaves=8,
)


@st.composite
def deep_values(draw: st.DrawFn) -> Any:
    """Lists and objects nested up to 300 levels."""
    value: Any = draw(JSON_LEAVES)
    for _ in range(draw(st.sampled_from([10, 63, 64, 65, 300]))):
        value = [value]
    return {"deep": value}


VALUES = st.one_of(PLAIN_JSON, EVIL_JSON)
METADATA = st.one_of(
    st.none(),
    st.dictionaries(st.sampled_from(["openai", "x"]), st.dictionaries(st.text(max_size=3), VALUES, max_size=2)),
    VALUES,
)
FLAGS = st.sampled_from([True, False, None, "yes"])
MESSAGE_METADATA = st.one_of(
    st.dictionaries(
        st.sampled_from(["a", "b", "constructor", "prototype", "toString", "0"]),
        st.one_of(st.integers(0, 9), st.none(), st.dictionaries(st.sampled_from("ab"), PLAIN_JSON, max_size=2)),
        max_size=3,
    ),
    VALUES,
)


def _keys(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


def _chunk(kind: str, required: dict[str, Any] | None = None, **optional: Any) -> st.SearchStrategy[Chunk]:
    return _keys({"type": st.just(kind), **(required or {})}, **optional)


_CALL = {"toolCallId": CALLS}
_NAMED = {"toolCallId": CALLS, "toolName": TOOLS}
_HOW = {
    "providerExecuted": FLAGS,
    "dynamic": FLAGS,
    "providerMetadata": METADATA,
    "title": st.just("A tool"),
    "toolMetadata": VALUES,
}
#: Pieces of JSON texts, so that streamed tool inputs are sometimes right.
INPUT_PIECES = st.one_of(
    st.sampled_from(['{"city": "Pa', 'ris"}', '{"a": [1, 2', '.5e3], "b": tr', "ue}", "\\u00e", "9", "[", "]"]),
    ANY_TEXT,
)
DATA_TYPES = st.sampled_from(["data-chart", "data-progress", "data-turn", "data-token-usage", "data-"])

#: Chunks with the keys that the newest client knows, and values that are mostly right.
CHUNKS: st.SearchStrategy[Chunk] = st.one_of(
    _chunk("text-start", {"id": NAMES}, providerMetadata=METADATA),
    *[_chunk("text-delta", {"id": NAMES, "delta": ANY_TEXT}, providerMetadata=METADATA)] * 4,
    _chunk("text-delta", {"delta": ANY_TEXT}),
    _chunk("text-end", {"id": NAMES}, providerMetadata=METADATA, citations=st.just([])),
    _chunk("reasoning-start", {"id": NAMES}, providerMetadata=METADATA),
    *[_chunk("reasoning-delta", {"id": NAMES, "delta": ANY_TEXT}, providerMetadata=METADATA)] * 2,
    _chunk("reasoning-end", {"id": NAMES}, providerMetadata=METADATA),
    *[_chunk("tool-input-start", _NAMED, inputEncoding=st.sampled_from(["json", "text"]), **_HOW)] * 2,
    *[_chunk("tool-input-delta", {**_CALL, "inputTextDelta": INPUT_PIECES})] * 2,
    *[_chunk("tool-input-available", {**_NAMED, "input": VALUES}, **_HOW)] * 2,
    _chunk("tool-input-error", {**_NAMED, "input": VALUES, "errorText": ANY_TEXT}, **_HOW),
    *[_chunk("tool-output-available", {**_CALL, "output": VALUES}, preliminary=FLAGS, **_HOW)] * 2,
    _chunk("tool-output-error", {**_CALL, "errorText": ANY_TEXT}, **_HOW),
    _chunk("source-url", {"sourceId": NAMES, "url": WORDS}, title=WORDS, providerMetadata=METADATA),
    _chunk(
        "source-document",
        {"sourceId": NAMES, "mediaType": st.just("text/plain"), "title": ANY_TEXT},
        filename=WORDS,
        providerMetadata=METADATA,
    ),
    _chunk("file", {"url": ANY_TEXT, "mediaType": st.just("image/png")}, providerMetadata=METADATA),
    _keys({"type": DATA_TYPES, "data": VALUES}, id=NAMES, transient=FLAGS),
    _chunk("start-step"),
    _chunk("finish-step"),
    _chunk("start", messageId=NAMES, messageMetadata=MESSAGE_METADATA),
    _chunk("message-metadata", {"messageMetadata": MESSAGE_METADATA}),
    _chunk(
        "finish",
        finishReason=st.sampled_from(["stop", "interrupted", "unknown", 7]),
        messageMetadata=MESSAGE_METADATA,
    ),
    _chunk("abort", reason=ANY_TEXT),
    _chunk("error", {"errorText": ANY_TEXT}),
    # Only 7 knows these.
    _chunk("reset-step"),
    _chunk("custom", {"kind": st.just("a.b")}, providerMetadata=METADATA),
    _chunk("reasoning-file", {"url": WORDS, "mediaType": st.just("image/png")}),
    _chunk("steering-message", {"id": NAMES, "parts": VALUES}),
)
#: What 5.x does not know, but 6 and 7 do.
APPROVAL_CHUNKS: st.SearchStrategy[Chunk] = st.one_of(
    _chunk("tool-approval-request", {**_CALL, "approvalId": NAMES}, signature=WORDS, isAutomatic=FLAGS),
    _chunk("tool-output-denied", _CALL),
    _chunk("tool-approval-response", {"approvalId": NAMES, "approved": FLAGS}, reason=ANY_TEXT),
)
_KEYS = st.sampled_from(
    ["id", "delta", "type", "toolCallId", "toolName", "input", "output", "errorText", "data", "url", "seq"]
)
#: Chunks with a key too few, too many, or of the wrong type.
HALF_BROKEN: st.SearchStrategy[Any] = st.builds(
    lambda chunk, gone, key, value: {**{k: v for k, v in chunk.items() if k != gone}, key: value},
    st.one_of(CHUNKS, APPROVAL_CHUNKS),
    st.one_of(st.none(), _KEYS),
    _KEYS,
    st.one_of(VALUES, deep_values()),
)
GARBAGE: st.SearchStrategy[Any] = st.one_of(VALUES, st.sampled_from(["[DONE]", b"data: {}\n\n", 7, None, ()]))


def agent_output(*, approvals: bool = True, max_size: int = 25) -> st.SearchStrategy[list[Any]]:
    """What an agent yields in one leg, from nearly right to nonsense."""
    chunks = st.one_of(CHUNKS, APPROVAL_CHUNKS) if approvals else CHUNKS
    broken = HALF_BROKEN if approvals else HALF_BROKEN.filter(_needs_no_approval)
    mixed = st.one_of(chunks, chunks, chunks, chunks, chunks, chunks, broken, GARBAGE)
    scenes = st.one_of(whole_blocks(), whole_calls(approvals=approvals), chunks.map(lambda chunk: [chunk]))
    played = st.lists(scenes, max_size=max_size // 3).map(lambda several: [c for scene in several for c in scene])
    return st.one_of(played, st.lists(chunks, max_size=max_size), st.lists(mixed, max_size=max_size))


def _needs_no_approval(chunk: Any) -> bool:
    return chunk.get("type") not in ("tool-approval-request", "tool-output-denied", "tool-approval-response")


@st.composite
def whole_blocks(draw: st.DrawFn) -> list[Chunk]:
    """A text or reasoning block as a good agent writes it, with all that may go with it."""
    kind, block = draw(st.sampled_from(["text", "reasoning"])), draw(NAMES)
    texts = draw(st.lists(st.one_of(WORDS, ANY_TEXT), max_size=3))
    chunks: list[Chunk] = [
        {"type": f"{kind}-start", "id": block},
        *({"type": f"{kind}-delta", "id": block, "delta": text} for text in texts),
        {"type": f"{kind}-end", "id": block},
    ]
    return [_with_metadata(draw, chunk) for chunk in chunks]


@st.composite
def whole_calls(draw: st.DrawFn, *, approvals: bool) -> list[Chunk]:
    """A tool call from start to output, of which any chunk may be missing."""
    call, tool = draw(CALLS), draw(TOOLS)
    same: Chunk = {"toolCallId": call}
    how = {key: True for key in ("dynamic", "providerExecuted") if draw(st.booleans())}
    early = {"preliminary": True} if draw(st.booleans()) else {}
    chunks: list[Chunk] = [
        {"type": "tool-input-start", **same, "toolName": tool, **how},
        {"type": "tool-input-delta", **same, "inputTextDelta": draw(INPUT_PIECES)},
        {"type": "tool-input-delta", **same, "inputTextDelta": draw(INPUT_PIECES)},
        {"type": "tool-input-available", **same, "toolName": tool, "input": draw(VALUES), **how},
        {"type": "tool-approval-request", **same, "approvalId": f"approve {call}"},
        {"type": "tool-output-denied", **same},
        {"type": "start-step"},
        {"type": "tool-output-available", **same, "output": draw(VALUES), **early},
        {"type": "tool-output-available", **same, "output": draw(VALUES), **how},
        {"type": "tool-output-error", **same, "errorText": draw(ANY_TEXT)},
    ]
    return [
        _with_metadata(draw, chunk)
        for chunk in chunks
        if draw(st.booleans()) and (approvals or _needs_no_approval(chunk))
    ]


def _with_metadata(draw: st.DrawFn, chunk: Chunk) -> Chunk:
    if not draw(st.booleans()):
        return chunk
    return {**chunk, "providerMetadata": {"x": {"n": draw(st.integers(0, 9))}}}


ENDINGS = st.sampled_from(["complete", "stop", "fail"])
#: What becomes of calls that wait, one after the other: the agent itself answers what is left to it.
VERDICTS = st.lists(st.sampled_from(["approve", "change", "deny", "answer", "fail", "agent"]), min_size=1, max_size=4)


def decided(canonical: Canonical, verdicts: list[str]) -> list[Chunk]:
    """The chunks with which the engine begins a leg that goes on."""
    chunks: list[Chunk] = []
    for call, verdict in zip(canonical.unanswered, itertools.cycle(verdicts), strict=False):
        named = {"toolCallId": call.id}
        if verdict in ("approve", "change"):
            chunks += canonical.allow(call.id, {"changed": True} if verdict == "change" else None)
        elif verdict == "deny":
            chunks += canonical.feed({"type": "tool-output-denied", **named})
        elif verdict == "answer":
            chunks += canonical.feed({"type": "tool-output-available", "output": 1, **named})
        elif verdict == "fail":
            chunks += canonical.feed({"type": "tool-output-error", "errorText": "No.", **named})
    return chunks


def make_canonical(output: list[Any], ending: str = "complete") -> list[Chunk]:
    """The canonical chunks of a whole leg."""
    canonical = Canonical()
    chunks = [chunk for item in output for chunk in canonical.feed(item)]
    end: list[Chunk] = getattr(canonical, ending)()
    return chunks + end


def canonical_logs(*, approvals: bool = True) -> st.SearchStrategy[list[Chunk]]:
    """Canonical chunks of one leg that has ended: complete, stopped or failed."""
    return st.builds(make_canonical, agent_output(approvals=approvals), ENDINGS)
