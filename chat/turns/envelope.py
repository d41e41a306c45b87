"""What the engine says around an agent's content: the id handshake before it, usage and the ending after it.

The order is that in which the AI SDK's clients take them. A stream that is made anew from a stored message has the same
envelope.
"""

from __future__ import annotations

from typing import Any

from chat.agents.errors import is_retryable
from chat.models import TurnStatus
from chat.protocol.chunks import Chunk, error, transient_data
from chat.store.turns import StoredTurn


def opening(turn: StoredTurn) -> list[Chunk]:
    """From ``start`` to the ids of both messages: those of rows are primary keys, and committed."""
    kind = "thread_id" if turn.copilot_chat_id is None else "copilot_chat_id"
    metadata = {kind: str(turn.conversation), "turn_id": turn.turn_id}
    if turn.model:
        metadata["model"] = turn.model
    # A queued turn has no answer yet.
    named = {} if turn.assistant_message_id is None else {"messageId": str(turn.assistant_message_id)}
    chunks: list[Chunk] = [
        {"type": "start", **named, "messageMetadata": metadata},
        transient_data("data-turn", {"turn": turn.pk, "turn_id": turn.turn_id, "status": turn.status}),
    ]
    for kind, message_id in (
        ("data-user-message-id", turn.user_message_id),
        ("data-assistant-message-id", turn.assistant_message_id),
    ):
        if message_id is not None:
            chunks.append(transient_data(kind, {"message_id": message_id, "turn_id": turn.turn_id}))
    if turn.title:
        chunks.append(thread_title(turn, turn.title))
    return chunks


def thread_title(turn: StoredTurn, title: str) -> Chunk:
    """Tells what the turn's thread is called now."""
    return transient_data("data-thread-title", {"thread_id": str(turn.conversation), "title": title})


def ending(
    status: TurnStatus,
    *,
    finish_reason: str,
    usage: dict[str, Any] | None,
    error_code: str,
    error_text: str,
    extra: dict[str, Any] | None = None,
) -> list[Chunk]:
    """What closes the stream, or a leg, after every part is closed. ``extra`` is more metadata: what the agent's own
    finish had, and what the turn took.

    The metadata tells how the turn ended, so that it survives a reload: the same is stored with the message.
    """
    metadata = {**(extra or {}), "status": status.value, "finish_reason": finish_reason}
    if error_code:
        metadata |= {"error_code": error_code, "error_text": error_text}
        if is_retryable(error_code):
            metadata["error_retryable"] = True
    if status in (TurnStatus.COMPLETED, TurnStatus.AWAITING_APPROVAL):
        chunks: list[Chunk] = [{"type": "finish", "finishReason": finish_reason, "messageMetadata": metadata}]
    elif status == TurnStatus.FAILED:
        chunks = [{"type": "message-metadata", "messageMetadata": metadata}, error(error_text)]
    else:
        chunks = [{"type": "message-metadata", "messageMetadata": metadata}, {"type": "abort"}]
    if usage is not None:
        chunks.insert(0, transient_data("data-token-usage", usage))
    return chunks
