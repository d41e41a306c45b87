"""Chunks made again from stored parts, when the log is gone.

A reader without a cursor gets a replay that folds to the same parts, not the same bytes (P5 of docs/proof.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from chat.protocol.chunks import Chunk, Part, is_well_formed

_COPIED: Final = {
    "file": ("type", "url", "mediaType"),
    "source-url": ("type", "sourceId", "url", "title", "providerMetadata"),
    "source-document": ("type", "sourceId", "mediaType", "title", "filename", "providerMetadata"),
}


def replay(parts: list[Part]) -> list[Chunk]:
    """Canonical chunks that fold to ``parts``: one delta a block, without ``start`` and ``finish``.

    For every list of parts that a fold gives. Parts of other origin, and whatever else is in the list, are told as
    far as chunks can: what well-formed chunks do not make is left out.
    """
    chunks: list[Chunk] = []
    in_step = False
    parts = [part for part in parts if isinstance(part, dict) and isinstance(part.get("type"), str)]
    ids = {part["id"] for part in parts if part["type"] == "reasoning" and isinstance(part.get("id"), str)}
    for number, part in enumerate(parts, 1):
        if part["type"] == "step-start":
            if in_step:
                chunks.append({"type": "finish-step"})
            chunks.append({"type": "start-step"})
            in_step = True
        else:
            told = list(_told(part, number, ids))
            chunks += told if all(map(is_well_formed, told)) else []
    if in_step and not any(part.get("state") in ("streaming", "input-streaming") for part in parts):
        chunks.append({"type": "finish-step"})
    return chunks


def _told(part: Part, number: int, ids: set[str]) -> Iterator[Chunk]:
    """The chunks of one part, which are well formed where the part is."""
    kind = part["type"]
    if kind in ("text", "reasoning"):
        yield from _block(part, _free_id(part, number, ids))
    elif "toolCallId" in part:
        yield from _call(part)
    elif kind in _COPIED:
        yield {key: part[key] for key in _COPIED[kind] if key in part}
    elif kind.startswith("data-"):
        yield {key: part[key] for key in ("type", "id", "data") if key in part}


def _free_id(part: Part, number: int, taken: set[str]) -> str:
    if part["type"] == "reasoning" and isinstance(part.get("id"), str):
        return str(part["id"])
    block = f"{part['type']}-{number}"
    while block in taken:
        block += "~"
    return block


def _block(part: Part, block: str) -> Iterator[Chunk]:
    kind = part["type"]
    start: Chunk = {"type": f"{kind}-start", "id": block}
    if "providerMetadata" in part:
        start["providerMetadata"] = part["providerMetadata"]
    yield start
    if part.get("text") != "":
        yield {"type": f"{kind}-delta", "id": block, "delta": part.get("text")}
    if part.get("state") != "streaming":
        yield {"type": f"{kind}-end", "id": block}


def _call(part: Part) -> Iterator[Chunk]:
    state, approval, same = part.get("state"), part.get("approval"), {"toolCallId": part["toolCallId"]}
    kind: dict[str, Any] = {"dynamic": True} if part["type"] == "dynamic-tool" else {}
    name = part.get("toolName") or part["type"].removeprefix("tool-")
    begin = {**same, "toolName": name, **kind}
    if "providerExecuted" in part:
        begin["providerExecuted"] = part["providerExecuted"]
    if state == "input-streaming":
        yield {"type": "tool-input-start", **begin}
        if part.get("rawInput"):
            yield {"type": "tool-input-delta", **same, "inputTextDelta": part["rawInput"]}
        return
    if "callProviderMetadata" in part:
        begin["providerMetadata"] = part["callProviderMetadata"]
    yield {"type": "tool-input-available", **begin, "input": part.get("input", part.get("rawInput"))}
    if isinstance(approval, dict):
        yield {"type": "tool-approval-request", **same, "approvalId": approval.get("id")}
    if state == "output-available":
        early: dict[str, Any] = {"preliminary": True} if part.get("preliminary") else {}
        yield {"type": "tool-output-available", **same, "output": part.get("output"), **kind, **early}
    elif state == "output-error":
        yield {"type": "tool-output-error", **same, "errorText": part.get("errorText"), **kind}
    elif state == "output-denied":
        yield {"type": "tool-output-denied", **same}
