"""Canonical order: what stands between an agent and the log.

Whatever an agent yields, what comes out is taken by every client of the four and folds to the same parts in
all of them. Blocks and tool calls have rules of their own (``blocks``, ``tool_calls``); the others, and the
client that asks for each:

- Every part lies in a step, and a step begins with its first part. Blocks are closed before ``finish-step``,
  which makes 5.x and 6.x forget them. A step does not end while a tool's input is being written: 6.0.326 and
  7 look for the call in the current step only, the older ones everywhere.
- A new tool call closes text and reasoning: what is said after it is a part after it.
- Chunk types that only 7 has become data parts (``custom`` -> ``data-custom``). ``reset-step`` becomes a
  step's end, since nobody can take back what was shown.
- ``providerMetadata`` of a ``file`` is left out: 5.x does not keep it.
- ``transient: false`` is left out: the clients would keep it in the part.

The engine itself emits ``start``, ``finish``, ``abort``, ``error`` and our transient data. An agent's own are
taken as news: see the attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from chat.protocol.blocks import Blocks, metadata_of
from chat.protocol.chunks import FINISH_REASONS, TRANSIENT_DATA, Chunk, is_data_type
from chat.protocol.metadata import clean_metadata
from chat.protocol.sanitize import clean, clean_text
from chat.protocol.tool_calls import FAILED, NO_RESULT, STOPPED, TAKEN_BACK, Call, ToolCalls

#: A ``file`` is often a data URL, which cannot be cut; one that is longer is left out.
MAX_URL_CHARS: Final = 16 * 1024 * 1024
MAX_NAME_CHARS: Final = 256

_ONLY_IN_7: Final = ("custom", "reasoning-file", "steering-message")
_SOURCES: Final = {
    "source-url": (("sourceId", "url"), "title"),
    "source-document": (("sourceId", "mediaType", "title"), "filename"),
}


class Canonical:
    """One turn's agent output, made canonical chunk by chunk; closed by one of the four endings.

    Beside the chunks it keeps what the agent said about the turn: ``finish_reason`` and ``finish_metadata``
    (of ``finish``; the reason is one that all clients know, or ``None``), ``error_text`` (of ``error``),
    ``aborted`` (of ``abort``), and ``dropped``, the number of chunks that nothing could be made of.
    """

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self.finish_metadata: dict[str, Any] | None = None
        self.error_text: str | None = None
        self.aborted = False
        self.dropped = 0
        self._blocks = Blocks(self._open_step)
        self._tools = ToolCalls()
        self._data_ids: set[tuple[str, str]] = set()
        self._step = 0
        self._in_step = False
        self._ended = False

    @classmethod
    def resume(cls, chunks: Iterable[Chunk]) -> Canonical:
        """The state after the given canonical chunks: for a turn's next leg, or to end a dead turn's log.

        ``chunks`` is all of the log so far, from any number of legs, cut off anywhere.
        """
        self = cls()
        for chunk in chunks:
            self.feed(chunk)
            kind = chunk["type"]
            if kind == "start-step":  # stands in the log, so it waits for nothing
                self._open_step()
            elif kind in ("text-start", "reasoning-start"):
                self._blocks.assume_started(chunk, kind.removesuffix("-start"))
        self.finish_reason = self.finish_metadata = self.error_text = None
        self.aborted = False
        self.dropped = 0
        return self

    @property
    def unanswered(self) -> list[Call]:
        """Tool calls that wait for a person's approval (``state`` is ``ASKED``) or an output from outside."""
        return self._tools.unanswered

    def feed(self, chunk: object) -> list[Chunk]:
        """The canonical chunks for one thing the agent yielded: often one, often none. Never raises."""
        if self._ended:
            return []
        if type(chunk) is dict:
            plain: Chunk = chunk
        elif isinstance(chunk, Mapping) and isinstance(copy := clean(chunk), dict):
            plain = copy
        else:
            return self._drop()
        kind = plain.get("type")
        if not isinstance(kind, str):
            return self._drop()
        handler = _HANDLERS.get(kind)
        if handler is not None:
            return handler(self, plain)
        return self._data(plain, clean_text(kind)) if is_data_type(kind) else self._drop()

    def complete(self) -> list[Chunk]:
        """The agent came to its end. Calls still without an output say so."""
        return self._end(lambda: self._tools.close(NO_RESULT, keep_preliminary=True))

    def stop(self, reason: str = STOPPED) -> list[Chunk]:
        """The turn was stopped, or interrupted. ``reason`` is the error text of calls without an output."""
        return self._end(lambda: self._tools.close(clean_text(reason)))

    def fail(self, reason: str = FAILED) -> list[Chunk]:
        """The agent failed. The engine's ``error`` chunk comes after these."""
        return self._end(lambda: self._tools.close(clean_text(reason)))

    def park(self) -> list[Chunk]:
        """The leg ended to wait for approvals, or for a client's outputs: such calls stay as they are."""
        return self._end(lambda: self._tools.close(NO_RESULT, keep_preliminary=True, keep_waiting=True))

    def allow(self, call_id: str, changed: Any = None) -> list[Chunk]:
        """A person approved the call; ``changed`` is the input that they gave it instead of the model's, or None. What
        it still lacks is an output, and it gets one at the latest with an ending.
        """
        return self._tools.allow(call_id, self._step, changed)

    def _end(self, answer: Callable[[], list[Chunk]]) -> list[Chunk]:
        if self._ended:
            return []
        result = [*self._blocks.close(), *answer(), *self._close_step()]
        self._ended = True
        return result

    def _open_step(self) -> list[Chunk]:
        if self._in_step:
            return []
        self._in_step = True
        self._step += 1
        return [{"type": "start-step"}]

    def _close_step(self) -> list[Chunk]:
        result = self._blocks.close()
        if self._in_step:
            self._in_step = False
            result.append({"type": "finish-step"})
        return result

    def _step_boundary(self, chunk: Chunk) -> list[Chunk]:
        """The agent's ``start-step`` or ``finish-step``. The next part opens the next step."""
        return [] if self._tools.writing else self._close_step()

    def _reset_step(self, chunk: Chunk) -> list[Chunk]:
        blocks = self._blocks.close()
        taken_back = self._tools.close(TAKEN_BACK, step=self._step) if self._in_step else []
        return [*blocks, *taken_back, *self._close_step()]

    def _tool_input(self, chunk: Chunk) -> list[Chunk]:
        take = _TOOL_INPUTS[chunk["type"]]
        if not self._tools.is_new(chunk, self._step if self._in_step else self._step + 1):
            return take(self._tools, chunk, self._step)
        return [*self._blocks.close(), *self._open_step(), *take(self._tools, chunk, self._step)]

    def _data(self, chunk: Chunk, kind: str) -> list[Chunk]:
        if kind in TRANSIENT_DATA or len(kind) > MAX_NAME_CHARS:
            return self._drop()
        result: Chunk = {"type": kind}
        if isinstance(chunk.get("id"), str):
            result["id"] = clean_text(chunk["id"])[:MAX_NAME_CHARS]
        result["data"] = clean(chunk.get("data"))
        if chunk.get("transient") is True:
            result["transient"] = True
            return [result]
        if "id" in result:
            key = kind, result["id"]
            if key in self._data_ids:  # replaces a part, wherever that is
                return [result]
            self._data_ids.add(key)
        return [*self._open_step(), result]

    def _as_data(self, chunk: Chunk) -> list[Chunk]:
        content = {key: value for key, value in chunk.items() if key not in ("type", "id")}
        return self._data({"id": chunk.get("id"), "data": content}, f"data-{chunk['type']}")

    def _source(self, chunk: Chunk) -> list[Chunk]:
        keys, option = _SOURCES[chunk["type"]]
        if not all(isinstance(chunk.get(key), str) for key in keys):
            return self._drop()
        result: Chunk = {"type": chunk["type"], **{key: clean(chunk[key]) for key in keys}}
        if isinstance(chunk.get(option), str):
            result[option] = clean(chunk[option])
        if metadata := metadata_of(chunk):
            result["providerMetadata"] = metadata
        return [*self._open_step(), result]

    def _file(self, chunk: Chunk) -> list[Chunk]:
        url, media_type = chunk.get("url"), chunk.get("mediaType")
        if not isinstance(url, str) or not isinstance(media_type, str) or len(url) > MAX_URL_CHARS:
            return self._drop()
        media_type = clean_text(media_type)[:MAX_NAME_CHARS]
        return [*self._open_step(), {"type": "file", "url": clean_text(url), "mediaType": media_type}]

    def _message_metadata(self, chunk: Chunk) -> list[Chunk]:
        """Of ``message-metadata``, or of an agent's ``start``, which itself is not sent."""
        metadata = clean_metadata(chunk.get("messageMetadata"))
        return [{"type": "message-metadata", "messageMetadata": metadata}] if metadata else []

    def _finish(self, chunk: Chunk) -> list[Chunk]:
        reason = chunk.get("finishReason")
        if isinstance(reason, str):
            self.finish_reason = reason if reason in FINISH_REASONS else "other"
        self.finish_metadata = clean_metadata(chunk.get("messageMetadata")) or self.finish_metadata
        return []

    def _error(self, chunk: Chunk) -> list[Chunk]:
        text = clean(chunk.get("errorText"))
        self.error_text = text if isinstance(text, str) and text else "The agent reported an error."
        return []

    def _abort(self, chunk: Chunk) -> list[Chunk]:
        self.aborted = True
        return []

    def _drop(self) -> list[Chunk]:
        self.dropped += 1
        return []


_TOOL_INPUTS: Final[dict[str, Callable[[ToolCalls, Chunk, int], list[Chunk]]]] = {
    "tool-input-start": ToolCalls.begin,
    "tool-input-available": ToolCalls.ready,
    "tool-input-error": ToolCalls.refuse,
}

_HANDLERS: Final[dict[str, Callable[[Canonical, Chunk], list[Chunk]]]] = {
    "text-start": lambda self, chunk: self._blocks.begin(chunk, "text"),
    "text-delta": lambda self, chunk: self._blocks.write(chunk, "text"),
    "text-end": lambda self, chunk: self._blocks.end(chunk, "text"),
    "reasoning-start": lambda self, chunk: self._blocks.begin(chunk, "reasoning"),
    "reasoning-delta": lambda self, chunk: self._blocks.write(chunk, "reasoning"),
    "reasoning-end": lambda self, chunk: self._blocks.end(chunk, "reasoning"),
    **dict.fromkeys(_TOOL_INPUTS, Canonical._tool_input),
    "tool-input-delta": lambda self, chunk: self._tools.write(chunk),
    "tool-approval-request": lambda self, chunk: self._tools.ask(chunk),
    "tool-output-available": lambda self, chunk: self._tools.output(chunk),
    "tool-output-error": lambda self, chunk: self._tools.fail(chunk),
    "tool-output-denied": lambda self, chunk: self._tools.deny(chunk),
    # Decisions are the engine's to make: they come from a person, through an endpoint of ours.
    "tool-approval-response": lambda self, chunk: [],
    **dict.fromkeys(_SOURCES, Canonical._source),
    "file": Canonical._file,
    **dict.fromkeys(_ONLY_IN_7, Canonical._as_data),
    "start-step": Canonical._step_boundary,
    "finish-step": Canonical._step_boundary,
    "reset-step": Canonical._reset_step,
    "start": Canonical._message_metadata,
    "message-metadata": Canonical._message_metadata,
    "finish": Canonical._finish,
    "error": Canonical._error,
    "abort": Canonical._abort,
}
