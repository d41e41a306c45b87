"""What clients may say to copilot chats, and what an element of their history is to the model and to older readers.

An element is ``{id, role, content, timestamp}`` with ``contentBlocks, fileAttachments, contexts, requestId, parts`` and
keys that nobody here knows, which are kept.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from chat.errors import InvalidInput
from chat.protocol import sanitize
from chat.protocol.chunks import Part
from chat.protocol.requests import FILE_CHARS, Body, Count, Model, Name, fingerprint, validated

ATTACHMENTS = 100
# Elements of one array, and the bytes of one element: an older program's answers hold all that its tools returned.
ELEMENTS = 100_000
ELEMENT_BYTES = FILE_CHARS * 2
# An older program named its messages as it liked.
OLD_NAME_LENGTH = 1000


class Kept(Body):
    """What may hold more than is known here, and keeps it."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)


class FileAttachment(Kept):
    """A file that was uploaded before: where it lies, never its content."""

    id: Name
    key: str = Field(min_length=1, max_length=1024)
    filename: str = Field(min_length=1, max_length=255)
    media_type: str = Field(min_length=1, max_length=200)
    size: Count


class Context(Kept):
    """Something that the message points at."""

    kind: Name
    label: str = Field(max_length=500)


class SaidBody(Body):
    """A user message for a copilot chat, and what it is to be answered with."""

    message: str
    user_message_id: Name | None = Field(default=None, alias="userMessageId")
    model: Model | None = None
    contexts: list[Context] = Field(default_factory=list, max_length=ATTACHMENTS)
    file_attachments: list[FileAttachment] = Field(
        default_factory=list, max_length=ATTACHMENTS, alias="fileAttachments"
    )


class SendBody(SaidBody):
    """The same with the chat it is for: an existing one, or one that is made for it."""

    chat_id: Name | None = Field(default=None, alias="chatId")
    create_new_chat: bool = Field(default=False, alias="createNewChat", strict=True)


class StopBody(Body):
    """Which live turn is to stop: a chat's, or the one with this stream."""

    chat_id: Name | None = Field(default=None, alias="chatId")
    stream_id: Name | None = Field(default=None, alias="streamId")


class ChatSettingsBody(Body):
    """What may be set on a copilot chat."""

    title: str | None = Field(default=None, max_length=200)
    model: Annotated[str, Field(max_length=200)] | None = None
    config: dict[str, Any] | None = None


class ReplaceBody(Body):
    """A whole array, and the version of the one that it was made from."""

    messages: list[Any] = Field(max_length=ELEMENTS)
    messages_version: int = Field(ge=0, le=2**31 - 1, strict=True)
    config: dict[str, Any] | None = None


class ForkBody(Body):
    up_to_message_id: str = Field(alias="upToMessageId", min_length=1, max_length=OLD_NAME_LENGTH)


class ImportedChat(Body):
    title: str = Field(default="", max_length=200)
    model: str = Field(default="", max_length=200)
    config: dict[str, Any] = Field(default_factory=dict)
    messages: list[Any] = Field(default_factory=list, max_length=ELEMENTS)


class ImportBody(Body):
    """Chats to be taken over for a user; without one for the superuser who asks."""

    user: Name | None = None
    chats: list[ImportedChat] = Field(min_length=1, max_length=1000)


# What PostgreSQL, Python and JavaScript read alike.
TIME = re.compile(r"[12]\d{3}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)


def _moment(value: str) -> str:
    try:
        if TIME.fullmatch(value):
            datetime.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise ValueError("must be an ISO 8601 time, like 2026-05-01T10:00:00.000Z")


class Element(Kept):
    """The keys of an element that others rely on."""

    id: Annotated[str, Field(min_length=1, max_length=OLD_NAME_LENGTH)]
    role: Literal["user", "assistant", "system"]
    content: str
    timestamp: Annotated[str, AfterValidator(_moment)]
    parts: list[Kept] | None = None


def checked_elements(messages: list[Any], at: str = "messages") -> list[dict[str, Any]]:
    """Elements that a client sent, as they are: unknown keys and their order are kept. Raises InvalidInput."""
    for index, element in enumerate(messages):
        where = f"{at}.{index}"
        validated(element, Element, where)
        for place, part in enumerate(element.get("parts") or ()):
            if not _is_part(part):
                raise InvalidInput(f"{where}.parts.{place}", "A part has a type, and a text part its text.")
        sanitize.check(element, where, ELEMENT_BYTES)
    return messages


def user_content(body: SaidBody, *, max_chars: int) -> dict[str, Any]:
    """What a new user message says, without id and time: ``content`` and what is attached. Raises InvalidInput."""
    sanitize.check(body.message, "message", FILE_CHARS)
    if len(body.message) > max_chars:
        raise InvalidInput("message", f"A message may have at most {max_chars} characters.")
    if not body.message.strip() and not body.file_attachments:
        raise InvalidInput("message", "The message is empty.")
    said: dict[str, Any] = {"content": body.message}
    for key, given in (("fileAttachments", body.file_attachments), ("contexts", body.contexts)):
        if given:
            said[key] = [dict(one) for one in given]  # unchecked yet: what is too deep cannot be dumped
            sanitize.check(said[key], key)
    return said


def payload_of(body: SaidBody, said: dict[str, Any]) -> str:
    """The fingerprint of a send: what is new in it."""
    return fingerprint("copilot", said, body.model)


def answer_element(element_id: str, parts: list[Part], metadata: dict[str, Any], moment: datetime) -> dict[str, Any]:
    """The element of an answer: its plain text, for older readers, and the parts beside it."""
    return {
        "id": element_id,
        "role": "assistant",
        "content": "".join(part["text"] for part in parts if part["type"] == "text"),
        "timestamp": timestamp(moment),
        "parts": parts,
        "metadata": metadata,
    }


def timestamp(moment: datetime) -> str:
    """A time as elements have it, and as JavaScript writes it: UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message_of(element: Any) -> dict[str, Any] | None:
    """An element as the model's history has messages (``{"id", "role", "parts", "status"}``, the status that an
    answer's turn ended with); None for one that says nothing.

    An older program wrote it, or a client: nothing about it is taken for granted.
    """
    if not isinstance(element, dict) or element.get("role") not in ("user", "assistant", "system"):
        return None
    parts = element.get("parts")
    if isinstance(parts, list):
        told = [part for part in parts if _is_part(part)]
    else:
        content = element.get("content")
        told = [{"type": "text", "text": content}] if isinstance(content, str) and content else []
    for key, kind in (("fileAttachments", "data-file-attachments"), ("contexts", "data-contexts")):
        if isinstance(attached := element.get(key), list) and attached:
            told = [*told, {"type": kind, "data": attached}]
    metadata = element.get("metadata")
    status = metadata.get("status") if isinstance(metadata, dict) else None
    return {"id": str(element.get("id", "")), "role": element["role"], "parts": told, "status": status}


def _is_part(part: Any) -> bool:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str) or not part["type"]:
        return False
    return part["type"] not in ("text", "reasoning") or isinstance(part.get("text"), str)
