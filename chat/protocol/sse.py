"""The stream's bytes: server-sent events as the AI SDK reads them.

Its parser reads only ``data:`` lines, skips ``[DONE]`` and comments, and takes the end of the stream for the
end of the answer. So the cursor travels in the ``id:`` line, where the browser's own ``EventSource`` and our
clients find it and an AI SDK client does not look.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from chat.protocol.chunks import Chunk
from chat.protocol.sanitize import clean

#: A comment; keeps proxies from closing a silent connection.
KEEP_ALIVE = b": keep-alive\n\n"
#: The last event of every stream.
DONE = b"data: [DONE]\n\n"

HEADERS: list[tuple[bytes, bytes]] = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"x-vercel-ai-ui-message-stream", b"v1"),
]


def encode(chunk: Chunk) -> bytes:
    """The chunk as compact JSON without line breaks: one line of the log, one event of a stream.

    Canonical chunks always encode. What else comes (a careless error text, say) is repaired first.
    """
    try:
        return orjson.dumps(chunk)
    except TypeError:  # orjson.JSONEncodeError is one
        return orjson.dumps(clean(chunk))


def frame(chunk_json: bytes, cursor: str | None = None) -> bytes:
    """One event. ``chunk_json`` comes from ``encode``; the cursor is ``<turn pk>-<seq>``."""
    if cursor is None:
        return b"data: %b\n\n" % chunk_json
    return b"id: %b\ndata: %b\n\n" % (cursor.encode(), chunk_json)


def unframe(frame: bytes) -> tuple[str | None, bytes]:
    """The cursor and the chunk's JSON out of one ``frame``, for a transport with frames of its own."""
    head, _, chunk = frame.partition(b"data: ")
    return (head[4:-1].decode() if head else None), chunk[:-2]


def frames(turn: int, first_seq: int, chunks: Sequence[bytes]) -> list[bytes]:
    """The events of a turn's chunks, numbered from ``first_seq`` on: the same as ``frame`` makes, at half the price."""
    return [b"id: %d-%d\ndata: %b\n\n" % (turn, seq, chunk) for seq, chunk in enumerate(chunks, first_seq)]


@dataclass(frozen=True, slots=True)
class Event:
    """One event as read: its cursor, and its chunk, or ``None`` for ``[DONE]``."""

    cursor: str | None
    chunk: Chunk | None


class Parser:
    """Reads such a stream as it arrives, in pieces cut anywhere. For tests and tools."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that are complete now. Raises ``orjson.JSONDecodeError`` on a broken one."""
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        for block in blocks:
            event = _event(block)
            if event is not None:
                yield event


def parse(data: bytes) -> list[Event]:
    """The events of a whole stream."""
    return list(Parser().feed(data))


def _event(block: bytes) -> Event | None:
    cursor, lines = None, []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"id":
            cursor = value.decode()
        elif name == b"data":
            lines.append(value)
    if not lines:
        return None
    body = b"\n".join(lines)
    return Event(cursor, None if body == b"[DONE]" else orjson.loads(body))
