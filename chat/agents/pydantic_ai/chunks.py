"""Events of a Pydantic AI run as chunks. One translator a run; ids, order and repair are canonical order's work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from pydantic_ai.messages import (
    BaseToolCallPart,
    BaseToolReturnPart,
    BinaryContent,
    CompactionPart,
    CustomEvent,
    FilePart,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    NativeToolCallPart,
    NativeToolReturnPart,
    OutputToolCallEvent,
    OutputToolResultEvent,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
    WebCitationSource,
)
from pydantic_core import to_json, to_jsonable_python

from chat.agents.pydantic_ai.messages import KEY
from chat.protocol.chunks import Chunk, is_data_type
from chat.protocol.history import PROVIDER_DATA

#: What a tool may send along, in the ``metadata`` of its ``ToolReturn``: chunks that say something of their own.
FROM_TOOLS: Final = ("source-url", "source-document", "file")


class Translator:
    """``begin_response`` before each request to the model, then ``chunks`` for each event."""

    def __init__(self) -> None:
        self._response = 0
        self._block = ""
        self._texts: list[TextPart] = []
        self._cited: set[str] = set()

    def begin_response(self) -> None:
        self._response += 1

    def chunks(self, event: Any) -> list[Chunk]:
        """The chunks that say what an event says: often one, often none."""
        if type(event) is PartDeltaEvent:  # nearly all
            delta = event.delta
            if type(delta) is TextPartDelta:
                text = delta.content_delta
                return [{"type": "text-delta", "id": self._block, "delta": text}] if text else []
            return self._delta(delta)
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            return list(handler(self, event))
        return list(self._custom(event)) if isinstance(event, CustomEvent) else []

    def _delta(self, delta: Any) -> list[Chunk]:
        if isinstance(delta, ThinkingPartDelta) and delta.content_delta:
            return [{"type": "reasoning-delta", "id": self._block, "delta": delta.content_delta}]
        if isinstance(delta, ToolCallPartDelta) and delta.args_delta:
            return [_written(delta.tool_call_id or "", delta.args_delta)]
        return []

    def _start(self, event: PartStartEvent) -> Iterator[Chunk]:
        part = event.part
        if event.index == 0:  # the step's first part: a response is a step
            yield {"type": "start-step"}
        if isinstance(part, TextPart):
            if event.previous_part_kind != "text":
                self._texts = []
                self._block = f"{self._response}-{event.index}"
                yield {"type": "text-start", "id": self._block}
            if part.content:
                yield {"type": "text-delta", "id": self._block, "delta": part.content}
        elif isinstance(part, ThinkingPart):
            self._block = f"{self._response}-{event.index}"
            yield {"type": "reasoning-start", "id": self._block}
            if part.content:
                yield {"type": "reasoning-delta", "id": self._block, "delta": part.content}
        elif isinstance(part, ToolCallPart | NativeToolCallPart):
            yield {"type": "tool-input-start", **_named(part)}
            if part.args:
                yield _written(part.tool_call_id, part.args)

    def _end(self, event: PartEndEvent) -> Iterator[Chunk]:
        """What a provider wants back goes with the end: a part that was cut off has nothing that it would take."""
        part, system = event.part, event.canonical_system
        if isinstance(part, TextPart):
            self._texts.append(part)
            if event.next_part_kind != "text":
                yield {"type": "text-end", "id": self._block, **_text_metadata(self._texts, system)}
                yield from self._sources()
        elif isinstance(part, ThinkingPart):
            yield {"type": "reasoning-end", "id": self._block, **_metadata(part, system)}
        elif isinstance(part, ToolCallPart | NativeToolCallPart):
            yield _input(part, system)
        elif isinstance(part, NativeToolReturnPart):
            yield from self._result(part)
            if origin := _origin(part, system):
                yield _note({"of": "result", **origin})
        elif isinstance(part, FilePart):
            yield {"type": "file", "url": part.content.data_uri, "mediaType": part.content.media_type}
            if origin := _origin(part, system):
                yield _note({"of": "file", **origin})
        elif isinstance(part, CompactionPart):
            yield _note({"of": "compaction", "content": part.content, **_origin(part, system)})

    def _called(self, event: FunctionToolCallEvent | OutputToolCallEvent) -> Iterator[Chunk]:
        # Of a call that was streamed this is a repetition, which canonical order drops. Before the run's first response
        # it is one of an earlier leg, which was decided on: denied, it is over, and would come back as another call.
        if self._response:
            yield _input(event.part, None)

    def _returned(self, event: FunctionToolResultEvent | OutputToolResultEvent) -> Iterator[Chunk]:
        yield from self._result(event.part)

    def _result(self, part: BaseToolReturnPart[Any]) -> Iterator[Chunk]:
        call = {"toolCallId": part.tool_call_id}
        if part.outcome == "success":
            content, files = _split(part.content)
            output = to_jsonable_python(content, fallback=str, serialize_unknown=True)
            yield {"type": "tool-output-available", **call, "output": output}
            for file in files:
                yield {"type": "file", "url": file.data_uri, "mediaType": file.media_type}
        elif part.outcome == "denied":
            yield {"type": "tool-output-denied", **call}
        else:
            yield {"type": "tool-output-error", **call, "errorText": part.model_response_str(wrap_if_error=False)}
        sent = part.metadata if isinstance(part.metadata, list) else [part.metadata]
        for chunk in sent:
            kind = chunk.get("type") if isinstance(chunk, dict) else None
            if kind in FROM_TOOLS or is_data_type(kind):
                yield chunk

    def _custom(self, event: CustomEvent) -> Iterator[Chunk]:
        if event.ui:
            yield {"type": f"data-{event.name}", "data": to_jsonable_python(event.to_payload(), fallback=str)}

    def _sources(self) -> Iterator[Chunk]:
        for text in self._texts:
            for citation in text.citations or ():
                for source in citation.sources:
                    if isinstance(source, WebCitationSource) and source.url not in self._cited:
                        self._cited.add(source.url)
                        title = {"title": source.title} if source.title else {}
                        yield {"type": "source-url", "sourceId": source.url, "url": source.url, **title}


def _note(data: dict[str, Any]) -> Chunk:
    return {"type": PROVIDER_DATA, "data": data}


def _named(part: BaseToolCallPart) -> Chunk:
    named: Chunk = {"toolCallId": part.tool_call_id, "toolName": part.tool_name}
    return {**named, "providerExecuted": True} if isinstance(part, NativeToolCallPart) else named


def _written(call: str, args: Any) -> Chunk:
    text = args if isinstance(args, str) else to_json(args).decode()
    return {"type": "tool-input-delta", "toolCallId": call, "inputTextDelta": text}


def _input(part: BaseToolCallPart, system: str | None) -> Chunk:
    chunk: Chunk = {"type": "tool-input-available", **_named(part), **_metadata(part, system)}
    # Where it is no valid JSON, the best that can be made of what was streamed is the input.
    with suppress(ValueError, AssertionError):
        chunk["input"] = part.args_as_dict(raise_if_invalid=True)
    return chunk


def _origin(part: Any, system: str | None) -> dict[str, Any]:
    names = ("id", "signature", "provider_name", "provider_details")
    kept = {name: value for name in names if (value := getattr(part, name, None)) is not None}
    return {**kept, "system": system} if kept and system else kept


def _metadata(part: Any, system: str | None) -> Chunk:
    origin = _origin(part, system)
    return {"providerMetadata": {KEY: origin}} if origin else {}


def _text_metadata(parts: list[TextPart], system: str | None) -> Chunk:
    """Several texts that are one on the wire are told apart by their lengths, where a provider cares."""
    if len(parts) == 1:
        return _metadata(parts[0], system)
    segments = [{"length": len(part.content), **_origin(part, system)} for part in parts if part.content]
    if all(len(segment) == 1 for segment in segments):
        return {}
    return {"providerMetadata": {KEY: {"segments": segments}}}


def _split(content: Any) -> tuple[Any, list[BinaryContent]]:
    """A tool's result without its files, which are chunks of their own, each named in its place."""
    if isinstance(content, BinaryContent):
        return {"file": content.media_type}, [content]
    if isinstance(content, list | tuple):
        pairs = [_split(one) for one in content]
        return [plain for plain, _ in pairs], [file for _, files in pairs for file in files]
    return content, []


_HANDLERS: Final[dict[type, Callable[[Translator, Any], Iterator[Chunk]]]] = {
    PartStartEvent: Translator._start,
    PartEndEvent: Translator._end,
    FunctionToolCallEvent: Translator._called,
    OutputToolCallEvent: Translator._called,
    FunctionToolResultEvent: Translator._returned,
    OutputToolResultEvent: Translator._returned,
}
