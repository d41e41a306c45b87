"""The tool calls of a turn on their way into canonical order: who may say what about a call, and when.

A call is written (input streaming), ready (input known), perhaps asked (a person must approve) and allowed, then has
an output, perhaps after preliminary ones. What comes out of turn is dropped or completed, because a client that
gets an output for a call it does not know, or a delta without its start, ends its stream.

Chunks of calls carry only what ``ai`` 5.0.200 takes, and what all versions read alike:

- ``dynamic`` on every chunk of its call: 5.x looks for the call among its own kind only;
- ``providerExecuted`` only with the input: 5.x ignores it on a dynamic tool's output;
- the tool's name as it was first: 6 and 7 rename the part when the input comes, 5.x does not;
- ``providerMetadata`` only with the input (5.x knows it nowhere else; thought signatures travel there);
- neither ``title``, ``toolMetadata`` nor ``inputEncoding``.
"""

from __future__ import annotations

from typing import Any, Final

from chat.protocol.blocks import metadata_of
from chat.protocol.chunks import Chunk
from chat.protocol.partial_json import parse_partial
from chat.protocol.sanitize import clean, clean_text, split_held

#: Providers make ids of up to a few hundred characters; some frameworks hide signatures in them.
MAX_CALL_ID = 4096

WRITTEN, READY, ASKED, ALLOWED = "written", "ready", "asked", "allowed"
PRELIMINARY, DONE = "preliminary", "done"
#: States of a part whose call has come to its end.
ANSWERED: Final = frozenset({"output-available", "output-error", "output-denied"})
#: Why a call has no output, as its ``errorText`` says it.
NO_RESULT = "The tool gave no result."
STOPPED = "Stopped before the tool gave a result."
FAILED = "The turn failed before the tool gave a result."
TAKEN_BACK = "The model took this step back before the tool gave a result."


class Call:
    """One tool call: its name on the wire, what is fixed about it, and how far it is."""

    __slots__ = (
        "approval",
        "dynamic",
        "executed",
        "held",
        "id",
        "last_output",
        "name",
        "state",
        "step",
        "text",
        "text_is_input",
    )

    def __init__(self, call_id: str, name: str, dynamic: bool, step: int) -> None:
        self.id = call_id
        self.name = name
        self.dynamic = dynamic
        self.step = step
        self.state = WRITTEN
        self.approval = ""
        self.executed = False  # by the provider: nobody else is to answer it
        self.text: list[str] = []
        self.text_is_input = False
        self.held = ""
        self.last_output: Any = None

    def chunk(self, kind: str, **keys: Any) -> Chunk:
        chunk: Chunk = {"type": kind, "toolCallId": self.id, **keys}
        if self.dynamic:
            chunk["dynamic"] = True
        return chunk

    @property
    def waits(self) -> bool:
        """Whether a person is to approve it, or a client to run it."""
        return self.state == ASKED or (self.state == READY and not self.executed)

    def written_input(self) -> Any:
        """The best input there is when the model was cut off while writing it."""
        text = "".join(self.text)
        if self.text_is_input:
            return clean(text)
        known, value = parse_partial(text)
        return value if known else {}


class ToolCalls:
    """All calls of a turn. Every method takes a chunk of the agent's and returns canonical ones."""

    def __init__(self) -> None:
        self._by_name: dict[str, Call] = {}
        self._all: dict[str, Call] = {}

    @property
    def writing(self) -> bool:
        """Whether some input is still being written: its step cannot end before it."""
        return any(call.state == WRITTEN for call in self._all.values())

    @property
    def unanswered(self) -> list[Call]:
        """Calls whose input is known and that have no output: they wait for a person or for a client."""
        return [call for call in self._all.values() if call.waits]

    def is_new(self, chunk: Chunk, step: int) -> bool:
        """Whether this input chunk would begin a call: the id is new, or was used up in an earlier step.

        Some providers number calls anew in every step, so an id may come again for another call.
        """
        call_id = _call_id(chunk)
        if call_id is None or _name(chunk) is None:
            return False
        call = self._by_name.get(call_id)
        return call is None or (call.state == DONE and call.step != step)

    def begin(self, chunk: Chunk, step: int) -> list[Chunk]:
        """``tool-input-start``; a repetition is dropped."""
        if not self.is_new(chunk, step):
            return []
        call = self._add(chunk, step)
        call.text_is_input = chunk.get("inputEncoding") == "text"
        call.executed = chunk.get("providerExecuted") is True
        return [call.chunk("tool-input-start", toolName=call.name, **_executed(chunk))]

    def write(self, chunk: Chunk) -> list[Chunk]:
        """``tool-input-delta``; dropped for a call whose input is known already."""
        call = self._known(chunk)
        delta = chunk.get("inputTextDelta")
        if call is None or call.state != WRITTEN or not isinstance(delta, str):
            return []
        delta, call.held = split_held(call.held + delta)
        if not delta:
            return []
        delta = clean_text(delta)
        call.text.append(delta)
        return [{"type": "tool-input-delta", "toolCallId": call.id, "inputTextDelta": delta}]

    def ready(self, chunk: Chunk, step: int) -> list[Chunk]:
        """``tool-input-available``: of a new call, or of one being written; otherwise a repetition."""
        call = self._add(chunk, step) if self.is_new(chunk, step) else self._known(chunk)
        if call is None or call.state != WRITTEN:
            return []
        keys = _executed(chunk)
        call.executed = keys.get("providerExecuted", call.executed)
        if metadata := metadata_of(chunk):
            keys["providerMetadata"] = metadata
        return self._with_input(call, chunk.get("input", _MISSING), keys)

    def refuse(self, chunk: Chunk, step: int) -> list[Chunk]:
        """``tool-input-error``, which the versions fold each in its own way: input, then an error."""
        result = self.ready(chunk, step)
        call = self._known(chunk)
        if call is None or call.state == DONE:
            return result
        return result + self._fail(call, _error_text(chunk))

    def ask(self, chunk: Chunk) -> list[Chunk]:
        """``tool-approval-request``, once a call, before it has any output."""
        call, approval = self._known(chunk), chunk.get("approvalId")
        if call is None or call.state not in (WRITTEN, READY) or not isinstance(approval, str):
            return []
        result = self._finish_input(call)
        call.state, call.approval = ASKED, clean_text(approval)
        return [*result, self._request(call)]

    def allow(self, call_id: str, step: int, changed: Any = None) -> list[Chunk]:
        """A person approved a call that was asked about, perhaps with an input of their own: then the clients are told
        that input, and asked again, since one without the other would be no valid part. Clients know a call again by
        its step: in any but the last one the part keeps the input that the model wrote.
        """
        call = self._all.get(call_id)
        if call is None or call.state != ASKED:
            return []
        call.state = ALLOWED
        if changed is None or call.step != step:
            return []
        return [call.chunk("tool-input-available", toolName=call.name, input=clean(changed)), self._request(call)]

    def output(self, chunk: Chunk) -> list[Chunk]:
        """``tool-output-available``, preliminary ones any number of times, the final one once."""
        call = self._known(chunk)
        if call is None or call.state == DONE:
            return []
        result = self._finish_input(call)
        call.last_output = clean(chunk.get("output"))
        if chunk.get("preliminary") is True:
            call.state = PRELIMINARY
            keys: dict[str, Any] = {"preliminary": True}
        else:
            call.state, keys = DONE, {}
        return [*result, call.chunk("tool-output-available", output=call.last_output, **keys)]

    def fail(self, chunk: Chunk) -> list[Chunk]:
        """``tool-output-error``."""
        call = self._known(chunk)
        if call is None or call.state == DONE:
            return []
        return self._finish_input(call) + self._fail(call, _error_text(chunk))

    def deny(self, chunk: Chunk) -> list[Chunk]:
        """``tool-output-denied``. Of a call that nobody asked about it would be no valid part: an error."""
        call = self._known(chunk)
        if call is None or call.state == DONE:
            return []
        if call.state == ASKED:
            return self._deny(call)
        return self._finish_input(call) + self._fail(call, "The tool was not allowed to run.")

    def close(
        self, reason: str, *, step: int | None = None, keep_preliminary: bool = False, keep_waiting: bool = False
    ) -> list[Chunk]:
        """Give every call without a final output one that says why; a pending approval is a denial.

        ``step`` limits it to the calls of that step. ``keep_preliminary`` makes the last preliminary
        output the final one. ``keep_waiting`` leaves those alone that wait for a person or for a client.
        """
        result: list[Chunk] = []
        for call in self._all.values():
            if call.state == DONE or (step is not None and call.step != step) or (keep_waiting and call.waits):
                continue
            if call.state == ASKED:
                result += self._deny(call)
            elif call.state == PRELIMINARY and keep_preliminary:
                call.state = DONE
                result.append(call.chunk("tool-output-available", output=call.last_output))
            else:
                result += self._finish_input(call) + self._fail(call, reason)
        return result

    def _add(self, chunk: Chunk, step: int) -> Call:
        name, tool = str(_call_id(chunk)), str(_name(chunk))
        call_id, number = name, 2
        while call_id in self._all:
            call_id, number = f"{name[: MAX_CALL_ID - 8]}~{number}", number + 1
        call = Call(call_id, tool, chunk.get("dynamic") is True, step)
        self._by_name[name] = self._all[call_id] = call
        # A later chunk may name the call by the id it has on the wire (another leg, from the history).
        self._by_name.setdefault(call_id, call)
        return call

    def _known(self, chunk: Chunk) -> Call | None:
        call_id = _call_id(chunk)
        return None if call_id is None else self._by_name.get(call_id)

    def _with_input(self, call: Call, value: Any, keys: dict[str, Any]) -> list[Chunk]:
        value = call.written_input() if value is _MISSING else clean(value)
        call.state, call.held = READY, ""
        call.text.clear()
        return [call.chunk("tool-input-available", toolName=call.name, input=value, **keys)]

    def _finish_input(self, call: Call) -> list[Chunk]:
        return self._with_input(call, _MISSING, {}) if call.state == WRITTEN else []

    def _fail(self, call: Call, text: str) -> list[Chunk]:
        call.state = DONE
        return [call.chunk("tool-output-error", errorText=text)]

    def _request(self, call: Call) -> Chunk:
        return {"type": "tool-approval-request", "toolCallId": call.id, "approvalId": call.approval}

    def _deny(self, call: Call) -> list[Chunk]:
        call.state = DONE
        return [{"type": "tool-output-denied", "toolCallId": call.id}]


_MISSING = object()


def _call_id(chunk: Chunk) -> str | None:
    call_id = chunk.get("toolCallId")
    if not isinstance(call_id, str) or not call_id.strip() or len(call_id) > MAX_CALL_ID:
        return None
    return clean_text(call_id)


def _name(chunk: Chunk) -> str | None:
    name = chunk.get("toolName")
    if not isinstance(name, str) or not name.strip() or len(name) > 256:
        return None
    return clean_text(name)


def _executed(chunk: Chunk) -> dict[str, Any]:
    executed = chunk.get("providerExecuted")
    return {"providerExecuted": executed} if isinstance(executed, bool) else {}


def _error_text(chunk: Chunk) -> str:
    text = chunk.get("errorText")
    return str(clean(text)) if isinstance(text, str) and text else "The tool failed."
