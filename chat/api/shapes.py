"""What the API answers, for its schema: ``tests/api/test_schema.py`` holds real answers against it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")


class Shape(BaseModel):
    model_config = ConfigDict(extra="allow")


class ErrorDetail(Shape):
    code: str
    message: str
    field: str = Field(default="", description="With code invalid: what cannot be.")


class Error(Shape):
    error: ErrorDetail


class Page(Shape, Generic[T]):
    results: list[T]
    next: str | None = Field(description="The address of the next page.")
    previous: None


class Thread(Shape):
    id: UUID
    owner_id: Any
    client_id: str | None
    title: str
    metadata: dict[str, Any]
    archived_at: datetime | None
    created_at: datetime
    updated_at: datetime = Field(description="The last activity.")
    may_write: bool


class Usage(Shape):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost_micros: int
    source: Literal["reported", "estimated", "missing"]


class Message(Shape):
    id: str
    role: Literal["user", "assistant", "system"]
    parts: list[dict[str, Any]] = Field(description="AI SDK UIMessage parts.")
    metadata: dict[str, Any]
    turn_id: str | None
    client_id: str | None
    created_at: datetime
    usage: Usage | None
    html: list[str] | None = Field(default=None, description="An answer's texts as a page may show them.")
    versions: list[str] | None = Field(default=None, description="Ids of its versions, where there are several.")


class Version(Message):
    is_current: bool
    turn: int | None
    status: str | None


class Approval(Shape):
    tool_call_id: str
    approval_id: str | None
    tool_name: str
    kind: Literal["approval", "output"]


class WaitingApproval(Approval):
    turn: int
    message_id: str


class Turn(Shape):
    turn: int
    thread_id: UUID | None
    copilot_chat_id: UUID | None
    turn_id: str
    status: Literal["queued", "streaming", "awaiting_approval", "completed", "stopped", "interrupted", "failed"]
    error_code: str
    error_text: str
    approvals: list[Approval]
    created_at: datetime
    finished_at: datetime | None


class State(Shape):
    thread: Thread
    messages: list[Message]
    earlier: str | None
    cursor: str
    turn: Turn | None
    approvals: list[WaitingApproval]
    queued: list[Turn]


class Stopped(Shape):
    status: Literal["idle", "stopping", "stopped"]
    turn: int | None = None


class HitThread(Shape):
    id: UUID
    title: str
    archived_at: datetime | None


class HitMessage(Shape):
    id: str
    role: str
    created_at: datetime


class Hit(Shape):
    thread: HitThread
    message: HitMessage | None = Field(description="Null where the title was found.")
    snippet: str = Field(description="HTML in which everything but <mark> is escaped.")
    rank: float


class Imported(Shape):
    imported: list[dict[str, Any]]
    there_already: list[dict[str, Any]]
    refused: list[dict[str, Any]]


class Share(Shape):
    id: int
    thread_id: UUID
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewShare(Share):
    secret: str
    path: str


class SharedThread(Shape):
    title: str
    messages: list[dict[str, Any]]
    created_at: datetime


class Feedback(Shape):
    message_id: str
    rating: Literal["up", "down"]
    comment: str
    created_at: datetime
    updated_at: datetime


class Attachment(Shape):
    id: UUID
    filename: str
    media_type: str
    size: int
    created_at: datetime
    part: dict[str, Any] = Field(description="What a message says to name the file.")


class Token(Shape):
    id: int
    name: str
    created_at: datetime
    last_used_at: datetime | None


class NewToken(Token):
    token: str


class Restored(Shape):
    thread_id: UUID
    message_id: str


class Export(Shape):
    format: Literal["durable-chat"]
    version: int
    threads: list[dict[str, Any]]


class CopilotChat(Shape):
    id: UUID
    title: str
    model: str
    config: dict[str, Any]
    messages_version: int
    created_at: datetime
    updated_at: datetime
    active_stream_id: str | None


class Saved(Shape):
    messages_version: int
    count: int


class Made(Shape):
    id: UUID


class MadeChats(Shape):
    results: list[Made]


class UsageTotal(Shape):
    total_tokens: int
    cost_micros: int
