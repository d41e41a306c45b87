"""Stored parts that no client or provider takes, made into parts that both do.

What the engine stores is never such; what an older program, an import or a statement by hand has left may be. Nothing
is thrown away that says something: what cannot be a part becomes the data of one that nobody shows. The rule is the
schema of the AI SDK's stored messages as its oldest clients have it. On top of it a call has its result, since the
turn is over, and an id of its own in its message.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import orjson

from chat.errors import InvalidInput
from chat.protocol.chunks import Part, is_data_type, is_provider_metadata
from chat.protocol.sanitize import check, clean, clean_text
from chat.protocol.tool_calls import ANSWERED, NO_RESULT

#: Bytes of one part, with the file that may be in it.
MOST_BYTES: Final = 1 << 26
UNREADABLE: Final = "data-unreadable"
#: By kind, the keys that must be text.
NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "text": ("text",),
    "reasoning": ("text",),
    "file": ("url", "mediaType"),
    "source-url": ("sourceId", "url"),
    "source-document": ("sourceId", "mediaType", "title"),
    "step-start": (),
}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


#: Keys that may be missing, with the test of their value: one that fails is left out. Newer clients look at more of
#: them than older ones do.
OPTIONAL: Final[dict[str, Callable[[Any], bool]]] = {
    "id": _is_text,
    "title": _is_text,
    "filename": _is_text,
    "rawInput": _is_text,
    "inputEncoding": lambda value: value in ("json", "text"),
    "providerExecuted": lambda value: isinstance(value, bool),
    "toolMetadata": lambda value: isinstance(value, dict),
    "providerReference": lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
    "providerMetadata": is_provider_metadata,
    "callProviderMetadata": is_provider_metadata,
    "resultProviderMetadata": is_provider_metadata,
    "citations": lambda value: False,  # as in chunks: older clients do not know them
    "dynamic": lambda value: False,  # the kind says it
}


def read_stored(text: str) -> Any:
    """The value of a jsonb column as text, also one that PostgreSQL takes and a parser refuses."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # a number with hundreds of digits, say
        try:
            return clean(json.loads(text), MOST_BYTES)
        except (ValueError, RecursionError):
            return [_unreadable(text)]


def mend(parts: Any, name: str) -> tuple[list[Part], list[str]]:
    """The parts of a message whose turn is over, as they can be read, and what was wrong with them, in words; nothing
    given is changed. ``name`` goes into ids of calls that have none. What comes out is mended already.
    """
    wrong: list[str] = []
    if not isinstance(parts, list):
        wrong.append("no list of parts")
        parts = [] if parts is None else [parts]
    calls: set[str] = set()
    return [_part(part, f"{name}-{place}", calls, wrong) for place, part in enumerate(parts)], wrong


def _part(part: Any, name: str, calls: set[str], wrong: list[str]) -> Part:
    given = part
    part = {clean_text(key): _safe(value) for key, value in given.items()} if isinstance(given, dict) else _safe(given)
    if part != given:
        wrong.append("a value that cannot be read back")
    if isinstance(part, str):
        wrong.append("text that is no part")
        return {"type": "text", "text": part, "state": "done"}
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        wrong.append("something that is no part")
        return _unreadable(part)
    if kind == "dynamic-tool" or (kind.startswith("tool-") and len(kind) > len("tool-")):
        return _call(part, kind, name, calls, wrong)
    if is_data_type(kind):
        return _noted({"data": None, **_without_bad(part)}, part, "data without data, or with a bad key", wrong)
    if kind not in NEEDS:
        wrong.append("a part of no known kind")
        return _unreadable(part)
    if not all(_is_text(part.get(key)) for key in NEEDS[kind]):
        wrong.append(f"a {kind} part that lacks something")
        return _unreadable(part)
    mended = _without_bad(part)
    if part.get("state", "done") != "done":
        mended["state"] = "done"
    return _noted(mended, part, f"a {kind} part that is open, or has a bad key", wrong)


def _call(part: Part, kind: str, name: str, calls: set[str], wrong: list[str]) -> Part:
    call = part.get("toolCallId")
    if not isinstance(call, str) or not call or call in calls:
        call = f"call-{name}"
        while call in calls:
            call += "-2"
    calls.add(call)
    mended = {"input": {}, **_without_bad(part), "toolCallId": call}
    if kind == "dynamic-tool" and not (isinstance(part.get("toolName"), str) and part["toolName"]):
        mended["toolName"] = "tool"
    mended.pop("preliminary", None)
    state = mended["state"] = _final(part)
    approval = mended.pop("approval", None)
    approval = approval if isinstance(approval, dict) else {}
    asked = approval["id"] if isinstance(approval.get("id"), str) else ""
    if state == "output-denied" or (asked and approval.get("approved") is not False):
        mended["approval"] = {"id": asked or call, "approved": state != "output-denied", **_reason(approval)}
    if state == "output-available":
        mended.setdefault("output", None)
    else:
        mended.pop("output", None)
    if state == "output-error":
        if not (isinstance(part.get("errorText"), str) and part["errorText"]):
            mended["errorText"] = NO_RESULT
    else:
        mended.pop("errorText", None)
    return _noted(mended, part, "a call without a result, or an id of its own", wrong)


def _final(part: Part) -> str:
    """The state of a call that is over. What waits for an approval is denied, as when its turn ends."""
    state, approval = part.get("state"), part.get("approval")
    if isinstance(state, str) and state in ANSWERED:
        return state
    refused = isinstance(approval, dict) and approval.get("approved") is False
    if state == "approval-requested" or (state == "approval-responded" and refused):
        return "output-denied"
    return "output-available" if "output" in part else "output-error"


def _reason(approval: dict[str, Any]) -> dict[str, str]:
    reason = approval.get("reason")
    return {"reason": reason} if isinstance(reason, str) else {}


def _without_bad(part: Part) -> Part:
    """A part without keys that some client refuses, or that belong to another kind."""
    return {
        key: value
        for key, value in part.items()
        if key != "toolCallId" and (key not in OPTIONAL or OPTIONAL[key](value))  # an id of a call makes a part a call
    }


def _noted(mended: Part, part: Part, problem: str, wrong: list[str]) -> Part:
    if mended != part:
        wrong.append(problem)
    return mended


def _safe(value: Any) -> Any:
    try:
        check(value, "", MOST_BYTES)
    except InvalidInput:
        return clean(value, MOST_BYTES)
    return value


def _unreadable(value: Any) -> Part:
    return {"type": UNREADABLE, "data": clean(value, MOST_BYTES)}
