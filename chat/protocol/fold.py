"""The fold: canonical chunks in, the parts of one assistant message out.

It is the AI SDK's own reducer, as 6.0.326 and 7.0.173 have it, with one thing filled in: ``approved`` of an
approval, where a later chunk implies the decision, because the clients' ``validateUIMessages`` refuses a
stored part without it. 5.0.200 and 6.0.150 leave out the ``id`` of a reasoning part, and ``rawInput`` while an
input is being written; apart from that all four build equal parts from one canonical log.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, Final

import orjson

from chat.protocol.chunks import Chunk, Part
from chat.protocol.metadata import merge
from chat.protocol.partial_json import parse_partial
from chat.protocol.tool_calls import ANSWERED, STOPPED


def says_something(parts: Iterable[Part]) -> bool:
    """Whether there is anything to show but steps and data."""
    return any(part["type"] != "step-start" and not part["type"].startswith("data-") for part in parts)


class AssistantContentBuilder:
    """Builds one assistant message's parts, chunk by chunk.

    Takes canonical chunks, and ignores types it does not know. A text delta costs one list append. Values
    of chunks are kept by reference: a chunk that was applied must not be changed.
    """

    def __init__(self) -> None:
        self._parts: list[Part] = []
        #: Open blocks by kind and id: the part, and the pieces of its text that are not joined yet.
        self._open: dict[tuple[str, str], tuple[Part, list[str]]] = {}
        self._calls: dict[str, Part] = {}
        self._written: dict[str, list[str]] = {}
        self._data: dict[tuple[str, str], Part] = {}
        self._metadata: dict[str, Any] | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """What ``start``, ``message-metadata`` and ``finish`` said of the message, merged. A copy."""
        return copy.deepcopy(self._metadata) if self._metadata else {}

    def apply(self, chunk: Chunk) -> None:
        """Take the next chunk of the log."""
        kind = chunk["type"]
        if kind == "text-delta":  # nine in ten
            block = self._open.get(("text", chunk["id"]))
            if block is not None:
                block[1].append(chunk["delta"])
                if "providerMetadata" in chunk:
                    block[0]["providerMetadata"] = chunk["providerMetadata"]
            return
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, chunk)
        elif kind.startswith("data-"):
            self._apply_data(chunk)

    def snapshot(self) -> list[Part]:
        """The parts so far, as plain JSON data that is the caller's own."""
        self._settle()
        return copy.deepcopy(self._parts)

    def mark_interrupted(self, reason: str = STOPPED) -> None:
        """Close what is open, as the chunks of ``Canonical.stop(reason)`` would."""
        self._settle()
        for part, _ in self._open.values():
            part["state"] = "done"
        self._open.clear()
        for call, part in self._calls.items():
            if part["state"] == "approval-requested":
                self._deny({"toolCallId": call})
            elif part["state"] not in ANSWERED or part.get("preliminary"):
                part.setdefault("input", {})
                self._fail({"toolCallId": call, "errorText": reason})
                part.pop("rawInput", None)
        self._written.clear()

    def is_empty(self) -> bool:
        """Whether there is nothing to show but steps and data."""
        return not says_something(self._parts)

    def stats(self) -> dict[str, int]:
        """How many parts there are of each kind, tool calls by how they ended, and the bytes of it all."""
        counts = dict.fromkeys(
            ("text", "reasoning", "tool", "file", "source", "data", "step", "completed", "failed", "open"), 0
        )
        for part in self._parts:
            kind = part["type"].partition("-")[0]
            counts["tool" if kind == "dynamic" else kind] += 1
            if "toolCallId" in part:
                state = part["state"]
                counts["completed" if state == "output-available" else "failed" if state in ANSWERED else "open"] += 1
        self._settle()
        return {"parts": len(self._parts), **counts, "bytes": len(orjson.dumps(self._parts))}

    def _settle(self) -> None:
        """Bring what is put together lazily up to date: texts of open blocks, inputs being written."""
        for part, pieces in self._open.values():
            if len(pieces) > 1:
                pieces[:] = ["".join(pieces)]
            part["text"] = pieces[0] if pieces else ""
        for call, pieces in self._written.items():
            if not pieces:
                continue
            pieces[:] = ["".join(pieces)]
            part = self._calls[call]
            part["rawInput"] = pieces[0]
            known, value = parse_partial(pieces[0])
            if known:
                part["input"] = value
            else:
                part.pop("input", None)

    # -- text and reasoning

    def _begin(self, chunk: Chunk, kind: str) -> None:
        part: Part = {"type": kind, "text": "", "state": "streaming"}
        if kind == "reasoning":
            part["id"] = chunk["id"]
        _take_metadata(part, chunk)
        self._open[kind, chunk["id"]] = part, []
        self._parts.append(part)

    def _reason(self, chunk: Chunk) -> None:
        block = self._open.get(("reasoning", chunk["id"]))
        if block is not None:
            block[1].append(chunk["delta"])
            _take_metadata(block[0], chunk)

    def _finish(self, chunk: Chunk, kind: str) -> None:
        block = self._open.pop((kind, chunk["id"]), None)
        if block is not None:
            part, pieces = block
            part["text"] = "".join(pieces)
            part["state"] = "done"
            _take_metadata(part, chunk)

    # -- tools

    def _call(self, chunk: Chunk, state: str) -> Part:
        part = self._calls.get(chunk["toolCallId"])
        if part is None:
            name = chunk["toolName"]
            part = {"type": "dynamic-tool", "toolName": name} if chunk.get("dynamic") else {"type": f"tool-{name}"}
            part["toolCallId"] = chunk["toolCallId"]
            self._calls[chunk["toolCallId"]] = part
            self._parts.append(part)
        part["state"] = state
        if "providerExecuted" in chunk:
            part["providerExecuted"] = chunk["providerExecuted"]
        return part

    def _write(self, chunk: Chunk) -> None:
        self._call(chunk, "input-streaming")
        self._written[chunk["toolCallId"]] = []

    def _written_delta(self, chunk: Chunk) -> None:
        pieces = self._written.get(chunk["toolCallId"])
        if pieces is not None:
            pieces.append(chunk["inputTextDelta"])

    def _ready(self, chunk: Chunk) -> None:
        part = self._call(chunk, "input-available")
        self._written.pop(chunk["toolCallId"], None)
        part.pop("rawInput", None)
        part["input"] = chunk["input"]
        part.pop("approval", None)  # a person changed the input: a new request follows at once
        if "providerMetadata" in chunk:
            part["callProviderMetadata"] = chunk["providerMetadata"]

    def _ask(self, chunk: Chunk) -> None:
        part = self._calls.get(chunk["toolCallId"])
        if part is not None:
            part["state"] = "approval-requested"
            part["approval"] = {"id": chunk["approvalId"]}

    def _answer(self, chunk: Chunk) -> None:
        part = self._end(chunk, "output-available", approved=True)
        if part is not None:
            part["output"] = chunk["output"]
            if chunk.get("preliminary"):
                part["preliminary"] = True

    def _fail(self, chunk: Chunk) -> None:
        part = self._end(chunk, "output-error", approved=True)
        if part is not None:
            part["errorText"] = chunk["errorText"]

    def _deny(self, chunk: Chunk) -> None:
        self._end(chunk, "output-denied", approved=False)

    def _end(self, chunk: Chunk, state: str, *, approved: bool) -> Part | None:
        part = self._calls.get(chunk["toolCallId"])
        if part is not None:
            part["state"] = state
            for key in ("output", "preliminary", "errorText"):
                part.pop(key, None)
            if "approval" in part:
                part["approval"] = {**part["approval"], "approved": approved}
        return part

    # -- the rest

    def _apply_data(self, chunk: Chunk) -> None:
        if chunk.get("transient"):
            return
        part: Part = {key: chunk[key] for key in ("type", "id", "data") if key in chunk}
        if "id" in chunk:
            known = self._data.setdefault((chunk["type"], chunk["id"]), part)
            if known is not part:
                known["data"] = chunk["data"]
                return
        self._parts.append(part)

    def _add(self, chunk: Chunk) -> None:
        """``file`` and the sources: the part is the chunk."""
        self._parts.append(dict(chunk))

    def _step(self, chunk: Chunk) -> None:
        self._parts.append({"type": "step-start"})

    def _merge(self, chunk: Chunk) -> None:
        if "messageMetadata" in chunk:
            self._metadata = merge(self._metadata, chunk["messageMetadata"])


def fold(chunks: Iterable[Chunk]) -> list[Part]:
    """The parts that these canonical chunks make: all of a log, or any beginning of it."""
    builder = AssistantContentBuilder()
    for chunk in chunks:
        builder.apply(chunk)
    return builder.snapshot()


def _take_metadata(part: Part, chunk: Chunk) -> None:
    if "providerMetadata" in chunk:
        part["providerMetadata"] = chunk["providerMetadata"]


_HANDLERS: Final[dict[str, Callable[[AssistantContentBuilder, Chunk], None]]] = {
    "text-start": lambda self, chunk: self._begin(chunk, "text"),
    "text-end": lambda self, chunk: self._finish(chunk, "text"),
    "reasoning-start": lambda self, chunk: self._begin(chunk, "reasoning"),
    "reasoning-delta": AssistantContentBuilder._reason,
    "reasoning-end": lambda self, chunk: self._finish(chunk, "reasoning"),
    "tool-input-start": AssistantContentBuilder._write,
    "tool-input-delta": AssistantContentBuilder._written_delta,
    "tool-input-available": AssistantContentBuilder._ready,
    "tool-approval-request": AssistantContentBuilder._ask,
    "tool-output-available": AssistantContentBuilder._answer,
    "tool-output-error": AssistantContentBuilder._fail,
    "tool-output-denied": AssistantContentBuilder._deny,
    "file": AssistantContentBuilder._add,
    "source-url": AssistantContentBuilder._add,
    "source-document": AssistantContentBuilder._add,
    "start-step": AssistantContentBuilder._step,
    "start": AssistantContentBuilder._merge,
    "message-metadata": AssistantContentBuilder._merge,
    "finish": AssistantContentBuilder._merge,
}
