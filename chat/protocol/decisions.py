"""What people and clients say to calls that wait: parsed and bounded. Every refusal names its field."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from pydantic import Field

from chat.errors import InvalidInput
from chat.protocol.requests import LARGEST_COUNT, Body, validated
from chat.protocol.sanitize import check
from chat.protocol.tool_calls import MAX_CALL_ID

MOST: Final = 100
REASON_CHARS: Final = 2_000
ERROR_CHARS: Final = 10_000

Id = Annotated[str, Field(min_length=1, max_length=MAX_CALL_ID)]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is said to one call, named by its own id or by its approval's: ``verdict`` is ``approved`` (perhaps with
    another ``input``), ``denied``, or, of a tool that the client runs, ``answered`` with an ``output`` or an ``error``.
    ``field`` is where it stood in the request.
    """

    field: str
    verdict: str
    call: str | None = None
    approval: str | None = None
    reason: str = ""
    input: dict[str, Any] | None = None
    output: Any = None
    error: str = ""


class DecisionBody(Body):
    """One decision, as our own endpoints take it."""

    tool_call_id: Id | None = None
    approval_id: Id | None = None
    approved: bool | None = Field(default=None, strict=True)
    reason: str = Field(default="", max_length=REASON_CHARS)
    input: dict[str, Any] | None = None
    output: Any = None
    error: str | None = Field(default=None, min_length=1, max_length=ERROR_CHARS)


class DecisionsBody(Body):
    """Decisions on calls of one turn: all of them are taken, or none."""

    decisions: list[Any] = Field(min_length=1, max_length=MOST)


class ApproveBody(DecisionsBody):
    """The same with the turn, for a socket."""

    turn: Annotated[int, Field(ge=1, le=LARGEST_COUNT, strict=True)]


def decisions_of(body: DecisionsBody, at: str = "") -> list[Decision]:
    """The decisions of a body, which stands ``at`` a path of the request. Raises InvalidInput."""
    return [_decision(one, f"{at}decisions.{place}") for place, one in enumerate(body.decisions)]


def _decision(value: Any, at: str) -> Decision:
    said = validated(value, DecisionBody, at)
    if said.tool_call_id is None and said.approval_id is None:
        raise InvalidInput(f"{at}.tool_call_id", "tool_call_id or approval_id says which call is meant.")
    meant = Decision(at, "", said.tool_call_id, said.approval_id)
    for key in ("tool_call_id", "approval_id", "reason", "input", "output", "error"):
        check(getattr(said, key), f"{at}.{key}")
    given = [said.approved is not None, "output" in said.model_fields_set, said.error is not None]
    if sum(given) != 1:
        raise InvalidInput(at, "A decision has exactly one of approved, output and error.")
    if said.approved is None:
        return replace(meant, verdict="answered", output=said.output, error=said.error or "")
    if said.input is not None and not said.approved:
        raise InvalidInput(f"{at}.input", "Only a call that is approved may be changed.")
    verdict = "approved" if said.approved else "denied"
    return replace(meant, verdict=verdict, reason=said.reason, input=said.input)


def reposted_decisions(message: Any, calls: Iterable[tuple[str, str]], at: str) -> list[Decision]:
    """What an assistant message that an AI SDK client posts again decides about the ``calls``, pairs of id and kind
    (``approval``, ``output``). Nothing else in the message is looked at: the answer's own parts are the server's.

    Raises InvalidInput.
    """
    parts = message.get("parts") if isinstance(message, dict) else None
    kinds = dict(calls)
    found: list[Decision] = []
    for place, part in enumerate(parts if isinstance(parts, list) else ()):
        call = part.get("toolCallId") if isinstance(part, dict) else None
        kind = kinds.get(call) if isinstance(call, str) else None
        if kind is not None and (decision := _reposted(part, kind, f"{at}.parts.{place}")):
            found.append(decision)
    return found


def _reposted(part: dict[str, Any], kind: str, at: str) -> Decision | None:
    state, call = part.get("state"), part["toolCallId"]
    if kind == "approval":
        approval = part.get("approval")
        if state != "approval-responded" or not isinstance(approval, dict):
            return None
        if not isinstance(approval.get("approved"), bool):
            raise InvalidInput(f"{at}.approval.approved", "approved is true or false.")
        reason = _text(approval.get("reason"), f"{at}.approval.reason", REASON_CHARS)
        return Decision(at, "approved" if approval["approved"] else "denied", call, reason=reason)
    if state == "output-available":
        check(part.get("output"), f"{at}.output")
        return Decision(at, "answered", call, output=part.get("output"))
    if state == "output-error":
        error = _text(part.get("errorText"), f"{at}.errorText", ERROR_CHARS) or "The tool failed."
        return Decision(at, "answered", call, error=error)
    return None


def _text(value: Any, field: str, most: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most:
        raise InvalidInput(field, f"Must be a text of at most {most} characters.")
    check(value, field)
    return value
