"""The vocabulary of the stream: which chunk types there are, and which keys each may carry.

The source is the schema of the oldest clients we serve, ``ai`` 5.0.200 and 6.0.150, which are strict: one key
they do not know, or one value of another type, ends their stream. Newer clients take all of this, too
(``tests/clients`` feeds the four of them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

Chunk = dict[str, Any]
Part = dict[str, Any]

#: Our own data chunks. They are transient, so they never become parts, and an agent may not send them.
TRANSIENT_DATA: Final = frozenset(
    {"data-turn", "data-user-message-id", "data-assistant-message-id", "data-thread-title", "data-token-usage"}
)

#: What ``finish`` may say everywhere. (5.x also knows ``unknown``, 7 ``interrupted``.)
FINISH_REASONS: Final = frozenset({"stop", "length", "content-filter", "tool-calls", "error", "other"})

#: Chunk types that a 5.x client does not know: they end its stream.
NEEDS_V6: Final = frozenset({"tool-approval-request", "tool-output-denied"})

_Test = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_anything(value: Any) -> bool:
    return True


def _is_reason(value: Any) -> bool:
    return type(value) is str and value in FINISH_REASONS


def is_provider_metadata(value: Any) -> bool:
    """Whether ``value`` is an object of objects, which is what ``providerMetadata`` must be."""
    return isinstance(value, dict) and all(isinstance(item, dict) for item in value.values())


class Shape(NamedTuple):
    """The keys of one chunk type beside ``type``, each with the test of its value."""

    required: Mapping[str, _Test]
    optional: Mapping[str, _Test]


_ID = {"id": _is_text}
_CALL = {"toolCallId": _is_text}
_NAMED_CALL = {"toolCallId": _is_text, "toolName": _is_text}
_META = {"providerMetadata": is_provider_metadata}
_HOW = {"providerExecuted": _is_flag, "dynamic": _is_flag}

SHAPES: Final[dict[str, Shape]] = {
    "start": Shape({}, {"messageId": _is_text, "messageMetadata": _is_anything}),
    "start-step": Shape({}, {}),
    "text-start": Shape(_ID, _META),
    "text-delta": Shape({**_ID, "delta": _is_text}, _META),
    "text-end": Shape(_ID, _META),
    "reasoning-start": Shape(_ID, _META),
    "reasoning-delta": Shape({**_ID, "delta": _is_text}, _META),
    "reasoning-end": Shape(_ID, _META),
    "tool-input-start": Shape(_NAMED_CALL, _HOW),
    "tool-input-delta": Shape({**_CALL, "inputTextDelta": _is_text}, {}),
    "tool-input-available": Shape({**_NAMED_CALL, "input": _is_anything}, {**_HOW, **_META}),
    "tool-approval-request": Shape({**_CALL, "approvalId": _is_text}, {}),
    "tool-output-available": Shape({**_CALL, "output": _is_anything}, {**_HOW, "preliminary": _is_flag}),
    "tool-output-error": Shape({**_CALL, "errorText": _is_text}, _HOW),
    "tool-output-denied": Shape(_CALL, {}),
    "source-url": Shape({"sourceId": _is_text, "url": _is_text}, {"title": _is_text, **_META}),
    "source-document": Shape(
        {"sourceId": _is_text, "mediaType": _is_text, "title": _is_text}, {"filename": _is_text, **_META}
    ),
    "file": Shape({"url": _is_text, "mediaType": _is_text}, {}),
    "finish-step": Shape({}, {}),
    "message-metadata": Shape({"messageMetadata": _is_anything}, {}),
    "finish": Shape({}, {"finishReason": _is_reason, "messageMetadata": _is_anything}),
    "abort": Shape({}, {}),
    "error": Shape({"errorText": _is_text}, {}),
}
#: Every ``data-*`` type.
DATA_SHAPE: Final = Shape({"data": _is_anything}, {"id": _is_text, "transient": _is_flag})


def is_data_type(kind: object) -> bool:
    """Whether ``kind`` names a data chunk: ``data-`` and at least one character more."""
    return isinstance(kind, str) and kind.startswith("data-") and len(kind) > 5


def defect(chunk: object) -> str | None:
    """What keeps ``chunk`` from being one that every client takes, in words; ``None`` when nothing does.

    Looks at types and keys, not at what came before: order is ``chat.protocol.canonical``'s part.
    """
    if not isinstance(chunk, dict):
        return "not an object"
    kind = chunk.get("type")
    shape = DATA_SHAPE if is_data_type(kind) else SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        return f"unknown type {kind!r}"
    for key in shape.required:
        if key not in chunk:
            return f"{kind} without {key}"
    for key, value in chunk.items():
        test = shape.required.get(key) or shape.optional.get(key)
        if key != "type" and (test is None or not test(value)):
            return f"{kind} with bad {key}" if test else f"{kind} with unknown key {key!r}"
    return None


def is_well_formed(chunk: object) -> bool:
    """Whether every client of the four takes this chunk."""
    return defect(chunk) is None


def text_start(block: str) -> Chunk:
    return {"type": "text-start", "id": block}


def text_delta(block: str, delta: str) -> Chunk:
    return {"type": "text-delta", "id": block, "delta": delta}


def text_end(block: str) -> Chunk:
    return {"type": "text-end", "id": block}


def reasoning_start(block: str) -> Chunk:
    return {"type": "reasoning-start", "id": block}


def reasoning_delta(block: str, delta: str) -> Chunk:
    return {"type": "reasoning-delta", "id": block, "delta": delta}


def reasoning_end(block: str) -> Chunk:
    return {"type": "reasoning-end", "id": block}


def tool_input_start(call: str, name: str) -> Chunk:
    return {"type": "tool-input-start", "toolCallId": call, "toolName": name}


def tool_input_delta(call: str, delta: str) -> Chunk:
    return {"type": "tool-input-delta", "toolCallId": call, "inputTextDelta": delta}


def tool_input_available(call: str, name: str, value: Any) -> Chunk:
    return {"type": "tool-input-available", "toolCallId": call, "toolName": name, "input": value}


def tool_output_available(call: str, value: Any) -> Chunk:
    return {"type": "tool-output-available", "toolCallId": call, "output": value}


def tool_output_error(call: str, text: str) -> Chunk:
    return {"type": "tool-output-error", "toolCallId": call, "errorText": text}


def tool_output_denied(call: str) -> Chunk:
    return {"type": "tool-output-denied", "toolCallId": call}


def tool_approval_request(call: str, approval: str) -> Chunk:
    return {"type": "tool-approval-request", "toolCallId": call, "approvalId": approval}


def transient_data(kind: str, data: Any) -> Chunk:
    """A data chunk that clients hand to ``onData`` and never keep. ``kind`` as in ``data-turn``."""
    return {"type": kind, "data": data, "transient": True}


def error(text: str) -> Chunk:
    return {"type": "error", "errorText": text}
