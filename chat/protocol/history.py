"""What the model is told of a conversation: stored messages, made into what a provider accepts.

Whatever is stored, what comes out holds for the rules of OpenAI and Anthropic (``tests/unit/provider_rules.py``):

- roles alternate, from the user's to the user's (instructions, ``system``, stand in front); messages of one role in
  a row are one message;
- no message is empty, no text blank; what is only for the eye (data, sources, reasoning that no provider signed) is
  left out;
- every tool call has its result, in the same part; its id is its own in the whole history, its name is one that
  providers take, and its input is an object. A call without a result is left out, unless it is one of the turn's own
  answer that goes on;
- a turn that was stopped, interrupted or failed is told as such, in front of what the user said next;
- the whole is no longer than a budget: the oldest goes first, in steps, so a call stays with its result, and a step's
  reasoning with its calls. What the user said last is always there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from chat.protocol.chunks import Part, is_provider_metadata
from chat.protocol.tool_calls import ANSWERED

Message = dict[str, Any]

#: What a person or a client has decided, when the turn that waited for it goes on.
DECIDED: Final = frozenset({"approval-responded"})
#: A data part that is told: what a provider wants back and no other part can carry (``agents.pydantic_ai``).
PROVIDER_DATA: Final = "data-provider-metadata"
#: What a file counts, which may be a data URL of megabytes: about what an image costs a model.
FILE_CHARS: Final = 4000

CUT: Final = "[The beginning of this conversation is left out.]"
WORDLESS: Final = "[This message has no text.]"
UNFINISHED: Final = {
    "stopped": "[The user stopped the answer above before its end.]",
    "interrupted": "[The answer above broke off before its end.]",
    "failed": "[The answer above failed before its end.]",
}

_ODD_IN_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_NAME_CHARS: Final = 64


def model_history(messages: list[Message], max_chars: int = 0, *, answer: list[Part] | None = None) -> list[Message]:
    """Stored messages (``{"id", "role", "parts", "status"?}``, oldest first; ``status`` is how an answer's turn ended)
    as a history for a model, of at most ``max_chars`` characters (0: no bound). Nothing given is changed.

    ``answer`` are the parts of the turn's own answer so far, when it goes on after it waited: it comes last.
    """
    instructions = [told for message in messages if message["role"] == "system" and (told := _of_person(message))]
    said = list(_alternating(_readable([message for message in messages if message["role"] != "system"])))
    if not said or said[-1]["role"] != "user":
        said.append(_said(WORDLESS))  # data for the agent's eyes, say
    if answer:
        said.append({"id": "", "role": "assistant", "parts": _told(answer)})
    if max_chars:
        said = _within(said, max_chars)
    if said[0]["role"] == "assistant":
        said.insert(0, _said(CUT))
    _name_calls(said, goes_on=bool(answer))
    return instructions + said


def _readable(messages: list[Message]) -> Iterator[Message]:
    """The messages with the parts that are told, and a word of the user's side about each answer that broke off."""
    for message in messages:
        told = _of_model(message) if message["role"] == "assistant" else _of_person(message)
        if told:
            yield told
        status = message.get("status")
        if message["role"] == "assistant" and status in UNFINISHED and (told or status != "failed"):
            yield _said(UNFINISHED[status])


def _of_person(message: Message) -> Message | None:
    parts = [part for part in _told(message["parts"]) if part["type"] in ("text", "file")]
    return {"id": message["id"], "role": message["role"], "parts": parts} if parts else None


def _of_model(message: Message) -> Message | None:
    parts: list[Part] = []
    for step in _steps(_told(message["parts"])):
        step = [part for part in step if "toolCallId" not in part or part["state"] in ANSWERED]
        # Reasoning alone is refused: what it led to is gone.
        if _says_something(step):
            parts += step
    return {"id": message["id"], "role": "assistant", "parts": parts} if parts else None


def _says_something(parts: list[Part]) -> bool:
    return any(part["type"] in ("text", "file") or "toolCallId" in part for part in parts)


def _alternating(messages: Iterator[Message]) -> Iterator[Message]:
    """Neighbours of one role as one message, named after the last."""
    pending: Message | None = None
    for message in messages:
        if pending is not None and pending["role"] == message["role"]:
            pending = {**message, "parts": [*pending["parts"], *message["parts"]]}
            continue
        if pending is not None:
            yield pending
        pending = message
    if pending is not None:
        yield pending


def _said(text: str) -> Message:
    return {"id": "", "role": "user", "parts": [{"type": "text", "text": text}]}


def _told(parts: Any) -> list[Part]:
    return [told for part in parts if (told := _part(part))] if isinstance(parts, list) else []


def _part(part: Any) -> Part | None:
    """A part as it is told, or None. Any program may have written it: nothing is taken for granted."""
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        return None
    if kind == "dynamic-tool" or kind.startswith("tool-"):
        return _call(part, kind)
    if "toolCallId" in part:  # which says of a part that it is a call
        part = {key: value for key, value in part.items() if key != "toolCallId"}
    if kind == "text":
        return part if isinstance(part.get("text"), str) and part["text"].strip() else None
    if kind == "reasoning":
        metadata = part.get("providerMetadata")
        signed = bool(metadata) and is_provider_metadata(metadata)
        return part if signed and isinstance(part.get("text"), str) else None
    if kind == "file":
        return part if all(isinstance(part.get(key), str) and part[key] for key in ("url", "mediaType")) else None
    return part if kind in ("step-start", PROVIDER_DATA) else None


def _call(part: Part, kind: str) -> Part | None:
    name = part.get("toolName") if kind == "dynamic-tool" else kind.removeprefix("tool-")
    call, state = part.get("toolCallId"), part.get("state")
    if not (isinstance(name, str) and isinstance(call, str) and call):
        return None
    if not (isinstance(state, str) and state in ANSWERED | DECIDED):
        return None
    name = _ODD_IN_NAME.sub("_", name)[:_NAME_CHARS] or "tool"
    value = part.get("input")
    told = {
        **part,
        "type": kind if kind == "dynamic-tool" else f"tool-{name}",
        "input": value if isinstance(value, dict) else {} if value is None else {"value": value},
    }
    if kind == "dynamic-tool":
        told["toolName"] = name
    else:
        told.pop("toolName", None)
    if state == "output-available":
        told.setdefault("output", None)
    elif state == "output-error" and not (isinstance(part.get("errorText"), str) and part["errorText"]):
        told["errorText"] = "The tool failed."
    return told


def _within(messages: list[Message], budget: int) -> list[Message]:
    """The newest messages that the budget holds; of the oldest answer among them as many steps as there is room for."""
    last = max((place for place, message in enumerate(messages) if message["role"] == "user"), default=0)
    kept = messages[last:]
    left = budget - sum(_size(part) for message in kept for part in message["parts"])
    for place in range(last - 1, -1, -1):
        message = messages[place]
        price = sum(map(_size, message["parts"]))
        if price <= left:
            left -= price
            kept.insert(0, message)
            continue
        steps: list[Part] = []
        for step in reversed(_steps(message["parts"]) if message["role"] == "assistant" else []):
            price = sum(map(_size, step))
            if price > left:
                break
            left -= price
            steps = [*step, *steps]
        if steps:
            kept.insert(0, {**message, "parts": steps})
        if kept[0]["role"] == "user":
            kept[0] = {**kept[0], "parts": [*_said(CUT)["parts"], *kept[0]["parts"]]}
        break
    return kept


def _steps(parts: list[Part]) -> list[list[Part]]:
    steps: list[list[Part]] = [[]]
    for part in parts:
        if part["type"] == "step-start":
            steps.append([])
        steps[-1].append(part)
    return steps


def characters(messages: list[Message]) -> int:
    """About how many characters a history is to a model, files by their price."""
    return sum(_size(part) for message in messages for part in message["parts"])


def _size(part: Part) -> int:
    if part["type"] == "file":
        return len(part["url"]) if not part["url"].startswith("data:") else FILE_CHARS
    if "toolCallId" in part:
        values = [part["input"], part.get("output"), part.get("errorText")]
        return len(part["type"]) + sum(len(orjson.dumps(value)) for value in values if value is not None)
    return len(part.get("text", ""))


def _name_calls(messages: list[Message], *, goes_on: bool) -> None:
    """Give each call an id of its own: some providers count anew in every answer. The ids of an answer that goes on
    are the log's, and stay.
    """
    own = messages[-1]["parts"] if goes_on else []
    taken = {part["toolCallId"] for part in own if "toolCallId" in part}
    for message in messages:
        if message["parts"] is own:
            continue
        for place, part in enumerate(message["parts"]):
            if "toolCallId" not in part:
                continue
            call, number = part["toolCallId"], 2
            while call in taken:
                call, number = f"{part['toolCallId']}-{number}", number + 1
            taken.add(call)
            if call != part["toolCallId"]:
                message["parts"][place] = {**part, "toolCallId": call}
