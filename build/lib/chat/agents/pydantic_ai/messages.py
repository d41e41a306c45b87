"""Our history as Pydantic AI messages, with what a provider wants back: ids, signatures, details of its own.

That travels in ``providerMetadata.pydantic_ai`` of parts (``chunks`` puts it there). Where no chunk of the AI SDK can
carry it (a provider's own tool's result, a generated file, a compaction) it is a data part beside the part it is for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic_ai import DeferredToolResults, ToolApproved, ToolDenied
from pydantic_ai.messages import (
    AudioUrl,
    BinaryContent,
    CompactionPart,
    DocumentUrl,
    FilePart,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    NativeToolCallPart,
    NativeToolReturnPart,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
    VideoUrl,
)

from chat.protocol.chunks import Part
from chat.protocol.history import DECIDED, PROVIDER_DATA, Message
from chat.protocol.tool_calls import FAILED, NO_RESULT, STOPPED

KEY: Final = "pydantic_ai"
DENIED: Final = "The user did not allow this call."
_URLS: Final = {"image": ImageUrl, "audio": AudioUrl, "video": VideoUrl}
_ODD_IN_ID = re.compile(r"[^a-zA-Z0-9_-]")


@dataclass(slots=True)
class Conversation:
    """What a run is begun with. ``prompt`` is None for a turn that goes on, with its ``decisions``."""

    earlier: list[ModelMessage] = field(default_factory=list)
    prompt: str | list[UserContent] | None = None
    decisions: DeferredToolResults | None = None


def conversation_of(history: list[Message], *, strict_ids: bool = False) -> Conversation:
    """A turn's history (``protocol.history`` made it) as the library has it. ``strict_ids`` gives tool calls ids of
    letters, digits, ``_`` and ``-`` only, which some providers insist on and others would not know again.
    """
    loader = _Loader(strict_ids)
    for message in history[:-1]:
        loader.add(message)
    last = history[-1]
    if last["role"] == "user":
        return Conversation(loader.finish(), _prompt(user_content(last["parts"])))
    loader.add(last)
    decided = [part for part in last["parts"] if part.get("state") in DECIDED]
    results = DeferredToolResults(approvals={part["toolCallId"]: _decision(part) for part in decided})
    return Conversation(loader.finish(), None, results if decided else None)


class _Loader:
    """Messages one after the other: requests and responses alternate, a call's result is in the request after it."""

    def __init__(self, strict_ids: bool) -> None:
        self._strict = strict_ids
        self._messages: list[ModelMessage] = []
        self._request: list[ModelRequestPart] = []
        self._response: list[ModelResponsePart] = []
        self._returns: list[ToolReturnPart[Any]] = []
        self._provider: str | None = None
        self._system: str | None = None

    def add(self, message: Message) -> None:
        if message["role"] == "assistant":
            for part in message["parts"]:
                self._part(part)
            self._end_response()
        elif message["role"] == "system":
            self._request += [SystemPromptPart(part["text"]) for part in message["parts"] if part["type"] == "text"]
        else:
            self._request.append(UserPromptPart(_prompt(user_content(message["parts"]))))

    def finish(self) -> list[ModelMessage]:
        self._end_request()
        return self._messages

    def _part(self, part: Part) -> None:
        kind = part["type"]
        if kind == "step-start" or (self._returns and kind in ("text", "reasoning")):
            # What was said after a result was said by another response.
            self._end_response()
        metadata = _metadata(part)
        if kind == "text":
            self._response += _texts(part["text"], metadata)
        elif kind == "reasoning":
            kept = _strings(metadata, "id", "signature") | _origin(metadata)
            if kept:  # signed for the library; another's signature says nothing to it
                self._response.append(ThinkingPart(part["text"], **kept))
        elif kind == "file":
            self._file(_binary(part))
        elif kind == PROVIDER_DATA:
            self._data(part.get("data"))
        elif "toolCallId" in part:
            self._call(part, metadata)
        self._take_origin(metadata)
        segments = metadata.get("segments")
        for segment in segments if isinstance(segments, list) else []:
            self._take_origin(segment)

    def _take_origin(self, metadata: Any) -> None:
        """Which provider the response is from, and whose keys verify what it signed."""
        known = _strings(metadata, "provider_name", "system") if isinstance(metadata, dict) else {}
        if len(known) == 2:
            self._provider, self._system = known["provider_name"], known["system"]

    def _file(self, content: BinaryContent | None) -> None:
        """A file that the model made, or, behind a tool's result, that the tool gave."""
        if content is None:
            return
        if self._returns:
            before = self._returns[-1]
            before.content = [*(before.content if isinstance(before.content, list) else [before.content]), content]
        else:
            self._response.append(FilePart(content))

    def _call(self, part: Part, metadata: dict[str, Any]) -> None:
        name = part.get("toolName") or part["type"].removeprefix("tool-")
        call = _plain_id(part["toolCallId"]) if self._strict else part["toolCallId"]
        kept = _strings(metadata, "id") | _origin(metadata)
        content, outcome = _result(part)
        if part.get("providerExecuted"):
            self._response.append(NativeToolCallPart(name, part["input"], call, **kept))
            origin = _origin(metadata) if outcome == "success" else {}
            self._response.append(NativeToolReturnPart(name, content, call, outcome=outcome, **origin))
            return
        self._response.append(ToolCallPart(name, part["input"], call, **kept))
        if part["state"] not in DECIDED:
            self._returns.append(ToolReturnPart(name, content, call, outcome=outcome))

    def _data(self, data: Any) -> None:
        """What a provider wants back about the part before, or about a result of its own tool."""
        if not isinstance(data, dict):
            return
        self._take_origin(data)
        kept = _strings(data, "id") | _origin(data)
        before = self._response[-1] if self._response else None
        if data.get("of") == "compaction":
            content = data.get("content")
            self._response.append(CompactionPart(content if isinstance(content, str) else None, **kept))
        elif data.get("of") == "file" and isinstance(before, FilePart):
            self._response[-1] = FilePart(before.content, **kept)
        elif data.get("of") == "result" and isinstance(before, NativeToolReturnPart):
            for name, value in _origin(data).items():
                setattr(before, name, value)

    def _end_response(self) -> None:
        if self._response:
            self._end_request()
            response = ModelResponse(self._response)
            response.provider_name, response.canonical_system = self._provider, self._system
            self._messages.append(response)
        self._request += self._returns
        self._response, self._returns = [], []
        self._provider = self._system = None

    def _end_request(self) -> None:
        if self._request:
            self._messages.append(ModelRequest(self._request))
            self._request = []


def user_content(parts: list[Part]) -> list[UserContent]:
    """What a user said and sent along. A file is its content, or a URL that the provider reads; a URL that this server
    would have to read with rights of its own (``gs:``, ``file:``) is only named.
    """
    content: list[UserContent] = []
    for part in parts:
        if part["type"] == "text":
            content.append(part["text"])
        elif (binary := _binary(part)) is not None:
            content.append(binary)
        elif part["url"].startswith(("https://", "http://")):
            kind = _URLS.get(part["mediaType"].partition("/")[0], DocumentUrl)
            content.append(kind(part["url"], media_type=part["mediaType"]))
        else:
            content.append(f"[A file that cannot be read: {part.get('filename') or part['mediaType']}]")
    return content


def _plain_id(call: str) -> str:
    """The id itself where it is plain, else one that is, and as much its own."""
    plain = _ODD_IN_ID.sub("_", call)
    if plain == call and len(call) <= 64:
        return call
    return f"{plain[:51]}_{hashlib.sha256(call.encode()).hexdigest()[:12]}"


def _prompt(content: Sequence[UserContent]) -> str | list[UserContent]:
    texts = [one for one in content if isinstance(one, str)]
    return "\n\n".join(texts) if len(texts) == len(content) else list(content)


def _texts(text: str, metadata: dict[str, Any]) -> list[ModelResponsePart]:
    """A text, which may have been several to its provider."""
    parts: list[ModelResponsePart] = []
    segments = metadata.get("segments")
    start = 0
    for segment in segments if isinstance(segments, list) else []:
        length = segment.get("length") if isinstance(segment, dict) else None
        if not isinstance(length, int) or not 0 < length <= len(text) - start:
            break
        kept = _strings(segment, "id") | _origin(segment)
        parts.append(TextPart(text[start : start + length], **kept))
        start += length
    if start < len(text):
        kept = _strings(metadata, "id") | _origin(metadata)
        parts.append(TextPart(text[start:], **kept))
    return parts


def _result(part: Part) -> tuple[Any, Any]:
    """What a call gave, and with which outcome."""
    state = part["state"]
    if state == "output-available":
        return part["output"], "success"
    if state == "output-denied":
        return _reason(part), "denied"
    text = part.get("errorText") or NO_RESULT
    return text, "interrupted" if text in (STOPPED, FAILED, NO_RESULT) else "failed"


def _decision(part: Part) -> ToolApproved | ToolDenied:
    approval = part["approval"] if isinstance(part.get("approval"), dict) else {}
    if approval.get("approved") is not True:
        return ToolDenied(_reason(part))
    changed = approval.get("input")
    return ToolApproved(override_args=changed if isinstance(changed, dict) else None)


def _reason(part: Part) -> str:
    """Why a person did not allow a call."""
    approval = part.get("approval")
    reason = approval.get("reason") if isinstance(approval, dict) else None
    return reason if isinstance(reason, str) and reason else DENIED


def _binary(part: Part) -> BinaryContent | None:
    """A file whose content is in its URL."""
    if not part["url"].startswith("data:"):
        return None
    try:
        return BinaryContent.from_data_uri(part["url"])
    except ValueError:
        return None


def _metadata(part: Part) -> dict[str, Any]:
    metadata = part.get("providerMetadata") or part.get("callProviderMetadata")
    found = metadata.get(KEY) if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def _strings(metadata: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: metadata[name] for name in names if isinstance(metadata.get(name), str)}


def _origin(metadata: dict[str, Any]) -> dict[str, Any]:
    """Which provider a part is from, and what it wants back with it."""
    kept = _strings(metadata, "provider_name")
    if isinstance(metadata.get("provider_details"), dict):
        kept["provider_details"] = metadata["provider_details"]
    return kept
