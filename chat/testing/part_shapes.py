"""What a stored assistant part looks like, as the AI SDK's clients want it (``reference/ai-sdk.md`` §4)."""

from __future__ import annotations

import json
from typing import Any

from chat.protocol.chunks import Part, is_provider_metadata
from chat.protocol.sanitize import check

_TOOL_KEYS = {"type", "toolName", "toolCallId", "state", "providerExecuted", "callProviderMetadata", "approval"}
_STATES = {
    "input-streaming": ({"input", "rawInput"}, set()),
    "input-available": ({"input"}, {"input"}),
    "approval-requested": ({"input"}, {"input", "approval"}),
    "output-available": ({"input", "output", "preliminary"}, {"input", "output"}),
    "output-error": ({"input", "errorText"}, {"input", "errorText"}),
    "output-denied": ({"input"}, {"input", "approval"}),
}
#: By type: the keys that may be there, and of them those that must.
_PLAIN = {
    "step-start": ({"type"}, set()),
    "text": ({"type", "text", "state", "providerMetadata"}, {"text", "state"}),
    "reasoning": ({"type", "id", "text", "state", "providerMetadata"}, {"id", "text", "state"}),
    "file": ({"type", "url", "mediaType"}, {"url", "mediaType"}),
    "source-url": ({"type", "sourceId", "url", "title", "providerMetadata"}, {"sourceId", "url"}),
    "source-document": (
        {"type", "sourceId", "mediaType", "title", "filename", "providerMetadata"},
        {"sourceId", "mediaType", "title"},
    ),
}


def assert_valid_parts(parts: list[Part], *, ended: bool = False, cut_off: bool = False) -> None:
    """Assert that ``parts`` is a message's content that any store and client takes.

    ``ended``: of a turn that is over, so nothing may be open; nor empty, unless its log was ``cut_off`` between
    a block's or step's start and its content, as a killed process may leave it.
    """
    assert json.loads(json.dumps(parts, allow_nan=False)) == parts
    calls = [part["toolCallId"] for part in parts if "toolCallId" in part]
    assert len(calls) == len(set(calls)), "a tool call has one part"
    reasoning = [part["id"] for part in parts if part["type"] == "reasoning"]
    assert len(reasoning) == len(set(reasoning))
    data = [(part["type"], part["id"]) for part in parts if "id" in part and part["type"] != "reasoning"]
    assert len(data) == len(set(data)), "data with an id has one part"
    assert not parts or parts[0]["type"] == "step-start", "every part lies in a step"
    for number, part in enumerate(parts):
        assert_valid_part(part, ended=ended)
        for key, value in part.items():
            check(value, f"parts.{number}.{key}", limit=1 << 26)
        if ended and not cut_off:
            follower = parts[number + 1]["type"] if number + 1 < len(parts) else "step-start"
            assert part["type"] != "step-start" or follower != "step-start", "a step has parts"
            assert part.get("text") != "" or part.get("providerMetadata"), "a block has content"


def assert_valid_part(part: Part, *, ended: bool = False) -> None:
    """Assert that one part has its keys, and values of their types."""
    kind = part["type"]
    if "toolCallId" in part:
        _assert_valid_tool(part, ended=ended)
    elif kind.startswith("data-"):
        assert set(part) in ({"type", "data"}, {"type", "id", "data"})
        assert len(kind) > 5
    else:
        may, must = _PLAIN[kind]
        assert must <= set(part) <= may, part
        for key in set(part) - {"providerMetadata"}:
            assert isinstance(part[key], str)
        if "state" in part:
            assert part["state"] in (("done",) if ended else ("done", "streaming"))
    for key in ("providerMetadata", "callProviderMetadata"):
        assert is_provider_metadata(part.get(key, {}))


def _assert_valid_tool(part: dict[str, Any], *, ended: bool) -> None:
    assert (part["type"] == "dynamic-tool") == ("toolName" in part)
    assert part["type"] == "dynamic-tool" or len(part["type"]) > len("tool-")
    may, must = _STATES[part["state"]]
    assert must <= set(part) <= may | _TOOL_KEYS, part
    assert isinstance(part.get("providerExecuted", True), bool)
    assert isinstance(part.get("errorText", ""), str)
    if "approval" in part:
        decided = {"output-denied": False, "output-available": True, "output-error": True}.get(part["state"])
        approval = {"id": part["approval"]["id"]}
        assert part["approval"] == (approval if decided is None else {**approval, "approved": decided})
    if ended:
        assert part["state"] in ("output-available", "output-error", "output-denied")
        assert "preliminary" not in part
