"""Text and reasoning blocks on their way into canonical order.

- A block starts with its first content, so an empty one leaves nothing. The exception is reasoning that
  carries ``providerMetadata``: providers hide it there, encrypted or signed, and want it back.
- Text closes reasoning, and the reverse. Blocks of one kind may be open side by side.
- Block ids are unique in a turn, over both kinds: one that comes again gets a number.
- Half a character (a high surrogate at a delta's end) waits for its other half in the next delta.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from chat.protocol.chunks import Chunk, is_provider_metadata
from chat.protocol.sanitize import REPLACEMENT, clean, clean_text, split_held

#: A longer delta is cut into several: no event of a stream is larger than about a megabyte.
MAX_DELTA_CHARS: Final = 256 * 1024
MAX_BLOCK_ID: Final = 256

_OTHER: Final = {"text": "reasoning", "reasoning": "text"}


class _Block:
    """A block that the agent has begun and not ended; on the wire only once it is ``started``."""

    __slots__ = ("held", "id", "kind", "metadata", "name", "started")

    def __init__(self, kind: str, name: str, metadata: dict[str, Any] | None = None) -> None:
        self.kind = kind
        self.name = name
        self.id = ""
        self.started = False
        self.held = ""
        self.metadata = metadata

    @property
    def is_plain(self) -> bool:
        """Whether the next delta follows the one before, and nothing has to go with it."""
        return self.started and not self.held and self.metadata is None

    def chunk(self, what: str, **keys: str) -> Chunk:
        chunk: Chunk = {"type": f"{self.kind}-{what}", "id": self.id, **keys}
        if self.metadata is not None:
            chunk["providerMetadata"], self.metadata = self.metadata, None
        return chunk


class Blocks:
    """The open blocks of a turn. Takes the agent's chunks and returns canonical ones.

    ``open_step`` gives the chunks, if any, that have to come before a new part.
    """

    def __init__(self, open_step: Callable[[], list[Chunk]]) -> None:
        self._open_step = open_step
        self._open: dict[tuple[str, str], _Block] = {}
        self._used_ids: set[str] = set()

    def begin(self, chunk: Chunk, kind: str) -> list[Chunk]:
        """``text-start``, ``reasoning-start``; begun again without an end, the earlier one is closed."""
        key = kind, _name(chunk)
        known = self._open.pop(key, None)
        self._open[key] = _Block(*key, metadata_of(chunk))
        return self._close(known) if known else []

    def write(self, chunk: Chunk, kind: str) -> list[Chunk]:
        """``text-delta``, ``reasoning-delta``, with or without a start before it."""
        text, name = chunk.get("delta"), chunk.get("id")
        # The usual token, which a turn has thousands of: nothing to repair, nothing to open.
        if type(name) is str and type(text) is str and text and len(chunk) == 3 and text.isascii():
            block = self._open.get((kind, name))
            if block is not None and block.is_plain and "\x00" not in text and len(text) <= MAX_DELTA_CHARS:
                return [{"type": f"{kind}-delta", "id": block.id, "delta": text}]
        metadata = metadata_of(chunk) if "providerMetadata" in chunk else None
        if not isinstance(text, str) or not (text or metadata):
            return []
        key = kind, _name(chunk)
        block = self._open.get(key)
        if block is None:
            block = self._open[key] = _Block(*key)
        if metadata:
            block.metadata = metadata
        text, block.held = split_held(block.held + text)
        if not text:
            return []
        result = [] if block.started else self._start(block)
        text = clean_text(text)
        if len(text) <= MAX_DELTA_CHARS:
            result.append(block.chunk("delta", delta=text))
            return result
        pieces = range(0, len(text), MAX_DELTA_CHARS)
        return result + [block.chunk("delta", delta=text[at : at + MAX_DELTA_CHARS]) for at in pieces]

    def end(self, chunk: Chunk, kind: str) -> list[Chunk]:
        """``text-end``, ``reasoning-end``; dropped for a block that is not open."""
        block = self._open.pop((kind, _name(chunk)), None)
        if block is None:
            return []
        block.metadata = metadata_of(chunk) or block.metadata
        return self._close(block)

    def close(self) -> list[Chunk]:
        """End every block. What had no content leaves nothing."""
        result: list[Chunk] = []
        while self._open:
            # One by one: empty reasoning that starts only now closes the texts that are still open.
            result += self._close(self._open.pop(next(iter(self._open))))
        return result

    def assume_started(self, chunk: Chunk, kind: str) -> None:
        """The start that was just taken stands in the log already (``Canonical.resume``)."""
        block = self._open[kind, _name(chunk)]
        block.started, block.metadata = True, None
        block.id = self._unique(block)

    def _start(self, block: _Block) -> list[Chunk]:
        result: list[Chunk] = []
        for key, other in list(self._open.items()):
            if other.kind == _OTHER[block.kind] and other.started:
                del self._open[key]
                result += self._close(other)
        result += self._open_step()
        block.started = True
        block.id = self._unique(block)
        return [*result, block.chunk("start")]

    def _close(self, block: _Block) -> list[Chunk]:
        result: list[Chunk] = []
        if not block.started:
            if not block.held and not (block.kind == "reasoning" and block.metadata):
                return result
            result = self._start(block)
        if block.held:  # its other half never came
            result.append(block.chunk("delta", delta=REPLACEMENT))
        return [*result, block.chunk("end")]

    def _unique(self, block: _Block) -> str:
        name = block_id = block.name or block.kind
        number = 2
        while block_id in self._used_ids:
            block_id, number = f"{name[: MAX_BLOCK_ID - 8]}~{number}", number + 1
        self._used_ids.add(block_id)
        return block_id


def metadata_of(chunk: Chunk) -> dict[str, Any] | None:
    """The chunk's ``providerMetadata``, cleaned; ``None`` where it has none, or none of the right form."""
    metadata = clean(chunk.get("providerMetadata"))
    return metadata if metadata and is_provider_metadata(metadata) else None


def _name(chunk: Chunk) -> str:
    """The agent's name for a block; an agent that names none writes one after the other."""
    name = chunk.get("id")
    return clean_text(name) if isinstance(name, str) and len(name) <= MAX_BLOCK_ID else ""
