"""What clients may say: request bodies, parsed, bounded and typed. Every refusal names its field.

Only what is new in a request is looked at: history that a client sends along is never trusted nor stored.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from chat.errors import InvalidInput
from chat.protocol import sanitize
from chat.protocol.mending import mend

# Names that a client gives to threads, turns and messages. A btree key holds 2,704 bytes at most.
NAME_LENGTH = 128
PARTS = 100
DOCUMENTS = 100
FILE_CHARS = 4 * 1024 * 1024
LARGEST_COUNT = 2**63 - 1


def _named(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) <= 0xDFFF for letter in value):
        raise ValueError("must not hold control characters")
    return value


Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH), AfterValidator(_named)]
Model = Annotated[str, Field(max_length=200), AfterValidator(_named)]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT, strict=True)]


class Body(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class TextPart(Body):
    type: Literal["text"]
    text: str


class FilePart(Body):
    type: Literal["file"]
    media_type: str = Field(alias="mediaType", min_length=1, max_length=200)
    url: str = Field(min_length=1, max_length=FILE_CHARS)
    filename: str | None = Field(default=None, max_length=255)


class DataPart(Body):
    type: str = Field(pattern=r"^data-.", max_length=NAME_LENGTH)
    id: str | None = Field(default=None, max_length=NAME_LENGTH)
    data: Any = None


class MentionedDocument(Body):
    """A document, folder, connector or thread that the user message points at."""

    id: int | Name
    title: str = Field(min_length=1, max_length=500)
    document_type: str | None = Field(default=None, min_length=1, max_length=100)
    kind: Literal["doc", "folder", "connector", "thread"] = "doc"


class ChatBody(Body):
    """The AI SDK's request body (``DefaultChatTransport``) and our own keys."""

    id: Name
    messages: list[Any] = Field(default_factory=list)
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    message_id: Name | None = Field(default=None, alias="messageId")
    turn_id: Name | None = None
    mentioned_documents: list[MentionedDocument] = Field(default_factory=list, max_length=DOCUMENTS)
    model: Model | None = None
    on_busy: Literal["reject", "stop", "enqueue"] | None = None


class UserMessage(Body):
    """The new message of a send: the last one of ``messages``."""

    id: Name | None = None
    role: Literal["user"]
    parts: list[dict[str, Any]] = Field(min_length=1, max_length=PARTS)


class TokenUsageBody(Body):
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    total_tokens: Count = 0
    cost_micros: Count = 0


class AppendBody(Body):
    """A legacy client's own write of a message."""

    role: Literal["user", "assistant"]
    parts: list[dict[str, Any]] | None = Field(default=None, min_length=1, max_length=PARTS)
    content: str | list[dict[str, Any]] | None = None
    turn_id: Name | None = None
    id: Name | None = None
    token_usage: TokenUsageBody | None = None


class ThreadBody(Body):
    """What may be set on a thread."""

    id: Name | None = None
    title: str | None = Field(default=None, max_length=200)
    metadata: dict[str, Any] | None = None
    archived: bool | None = Field(default=None, strict=True)


class ThreadForkBody(Body):
    """Up to which message a thread is forked."""

    message_id: Name
    title: str | None = Field(default=None, max_length=200)


class ShareBody(Body):
    """For how many days a link is good; null for as many as may be."""

    days: float | None = Field(default=None, gt=0, le=36_500, allow_inf_nan=False, strict=True)


class FeedbackBody(Body):
    """An opinion of an answer."""

    rating: Literal["up", "down"]
    comment: str = Field(default="", max_length=4000)


class TokenBody(Body):
    """What a token is for."""

    name: str = Field(default="", max_length=100)


B = TypeVar("B", bound=BaseModel)


def parse(body: bytes, kind: type[B]) -> B:
    """A request body as ``kind``. Raises InvalidInput naming the field, ``body`` where it is no JSON object."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise _refusal(body, problem) from None
    if not isinstance(value, dict):
        raise InvalidInput("body", "The body must be a JSON object.")
    return validated(value, kind, "")


def lenient(body: bytes) -> Any:
    """The JSON of another program's file, whose values are repaired where they are read: lone surrogates and NaN are
    let through. Raises InvalidInput for what is no JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body)
        except RecursionError:
            raise InvalidInput("body", "The body is nested too deeply.") from None
        except ValueError as problem:
            raise InvalidInput("body", f"The body is not valid JSON: {problem}.") from None


def _refusal(body: bytes, problem: Exception) -> InvalidInput:
    # The stricter parser does not say which field it refuses (a lone surrogate, NaN): the laxer one finds it.
    try:
        sanitize.check(json.loads(body), "")
    except InvalidInput as found:
        return InvalidInput(found.field.lstrip(".") or "body", found.text)
    except RecursionError:
        return InvalidInput("body", "The body is nested too deeply.")
    except ValueError:
        pass
    return InvalidInput("body", f"The body is not valid JSON: {problem}.")


def validated(value: Any, kind: type[B], at: str) -> B:
    """``value``, which stands ``at`` a path of the body, as ``kind``. Raises InvalidInput naming the field."""
    try:
        return kind.model_validate(value)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
        path = ".".join(str(step) for step in first["loc"])
        raise InvalidInput(".".join(filter(None, (at, path))) or "body", first["msg"]) from None


def told_length(header: str) -> int:
    """The bytes of the body that is to come, by its Content-Length; 0 where that is missing or no number, as where a
    server has joined two of them: then the body itself tells.
    """
    return int(header[:20]) if header.isascii() and header.isdecimal() else 0


def checked_name(value: str, field: str) -> str:
    """A name that came in a URL. Raises InvalidInput."""
    try:
        if len(value) > NAME_LENGTH:
            raise ValueError(f"must have at most {NAME_LENGTH} characters")
        return _named(value)
    except ValueError as problem:
        raise InvalidInput(field, f"{field} {problem}") from None


def new_user_message(body: ChatBody, *, max_chars: int) -> UserMessage:
    """The user message that a ``submit-message`` brings, its parts checked. Raises InvalidInput."""
    if not body.messages:
        raise InvalidInput("messages", "There is no message to answer.")
    at = f"messages.{len(body.messages) - 1}"
    message = validated(body.messages[-1], UserMessage, at)
    parts = user_parts(message.parts, f"{at}.parts", max_chars=max_chars)
    if body.mentioned_documents:
        documents = [_document(document, at=index) for index, document in enumerate(body.mentioned_documents)]
        parts = [*parts, {"type": "data-mentioned-documents", "data": {"documents": documents}}]
    return UserMessage(id=message.id, role="user", parts=parts)


def user_parts(parts: list[dict[str, Any]], at: str, *, max_chars: int) -> list[dict[str, Any]]:
    """The parts of a user message with only the keys that are stored: text, file and data parts. Raises
    InvalidInput for any other kind, for text over ``max_chars`` characters in all, and for values that
    PostgreSQL or a client could not read back.
    """
    kept: list[dict[str, Any]] = []
    chars = 0
    for index, part in enumerate(parts):
        where = f"{at}.{index}"
        kind = part.get("type")
        model: type[Body]
        if kind == "text":
            model = TextPart
        elif kind == "file":
            model = FilePart
        elif isinstance(kind, str) and kind.startswith("data-"):
            model = DataPart
        else:
            raise InvalidInput(f"{where}.type", "A user message has text, file and data parts.")
        clean = validated(part, model, where).model_dump(by_alias=True, exclude_none=True)
        sanitize.check(clean, where, FILE_CHARS + 4096)
        chars += len(clean.get("text", ""))
        if chars > max_chars:
            raise InvalidInput(f"{where}.text", f"A message may have at most {max_chars} characters.")
        kept.append(clean)
    if not any(part["type"] != "text" or part["text"].strip() for part in kept):
        raise InvalidInput(at, "The message is empty.")
    return kept


def append_parts(body: AppendBody, *, max_chars: int) -> list[dict[str, Any]]:
    """The parts that an append brings, in ``parts`` or, the older way, in ``content``; an answer's as every client and
    provider reads them. Raises InvalidInput.
    """
    if body.parts is None and body.content is None:
        raise InvalidInput("parts", "parts or content is needed.")
    field, parts = ("parts", body.parts) if body.parts is not None else ("content", body.content)
    if isinstance(parts, str):
        parts = [{"type": "text", "text": parts}]
        field = "content"
    assert parts is not None
    if len(parts) > PARTS:
        raise InvalidInput(field, f"A message has at most {PARTS} parts.")
    if body.role == "user":
        return user_parts(parts, field, max_chars=max_chars)
    for index, part in enumerate(parts):
        if not isinstance(part.get("type"), str) or not part["type"]:
            raise InvalidInput(f"{field}.{index}.type", "A part needs a type.")
        sanitize.check(part, f"{field}.{index}")
    mended, _ = mend(parts, body.turn_id or "")
    return mended


def _document(document: MentionedDocument, *, at: int) -> dict[str, Any]:
    if document.kind == "doc" and document.document_type is None:
        raise InvalidInput(f"mentioned_documents.{at}.document_type", "A document needs its document_type.")
    value = document.model_dump(exclude_none=True)
    sanitize.check(value, f"mentioned_documents.{at}")
    return value


def fingerprint(*payload: Any) -> str:
    """What a retry of the same request has in common: a hash of what is new in it, order of keys aside."""
    return hashlib.sha256(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)).hexdigest()
