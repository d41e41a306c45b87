"""The frames of the WebSocket: JSON objects whose one key says what they are.

From the server ``{"cursor", "chunk"}`` (``cursor`` null for a stream that was made anew from its parts),
``{"turn": {…}}``, ``{"restored": {…}}`` and ``{"error": {…}}``;
from the client ``{"submit": {…}}``, ``{"stop": {…}}`` and
``{"approve": {…}}``, with a ``ref`` of its choice that comes back in the answer.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from chat.errors import InvalidInput
from chat.protocol.decisions import ApproveBody
from chat.protocol.requests import LARGEST_COUNT, Body, parse

KINDS: tuple[Literal["submit", "stop", "approve"], ...] = ("submit", "stop", "approve")


class StopFrame(Body):
    """``turn`` names one turn, live or queued; without it the live one is meant."""

    turn: Annotated[int, Field(ge=1, le=LARGEST_COUNT, strict=True)] | None = None


class ClientFrame(Body):
    submit: dict[str, Any] | None = None
    stop: StopFrame | None = None
    approve: ApproveBody | None = None
    ref: str | int | None = None


def client_frame(text: str) -> ClientFrame:
    """What a client sent. Raises InvalidInput naming the field, unless it is exactly one of the three kinds."""
    frame = parse(text.encode("utf-8", "surrogatepass"), ClientFrame)
    if sum(getattr(frame, kind) is not None for kind in KINDS) != 1:
        raise InvalidInput("frame", f"A frame has exactly one of {', '.join(KINDS)}.")
    return frame


def chunk_frame(cursor: str | None, chunk_json: bytes) -> str:
    """One chunk, byte for byte as it stands in the log."""
    named = b'"%b"' % cursor.encode() if cursor else b"null"
    return (b'{"cursor":%b,"chunk":%b}' % (named, chunk_json)).decode()


def server_frame(kind: str, value: Any, ref: str | int | None = None) -> str:
    """Any other frame; ``ref`` where it answers one of the client's."""
    frame = {kind: value} if ref is None else {kind: value, "ref": ref}
    return orjson.dumps(frame, default=str).decode()
