"""The error tree: what can go wrong, one stable code each. Knows nothing of HTTP.

``chat.api.errors`` gives each class its status; every code is listed in the README.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ChatError(Exception):
    """Base of every error a caller may be told of.

    ``details`` travel beside the code and the message, so they hold only what the asker may know.
    """

    code: ClassVar[str] = "error"
    message: ClassVar[str] = "Something went wrong."

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.text = message or self.message
        self.details = details
        super().__init__(self.text)


class InvalidInput(ChatError):
    """The request says something that cannot be; ``details["field"]`` names where."""

    code = "invalid"
    message = "The request is not valid."

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message, field=field)
        self.field = field


class BodyTooLarge(ChatError):
    code = "body_too_large"
    message = "The request body is too large."


class NotAuthenticated(ChatError):
    code = "not_authenticated"
    message = "Log in, or send a bearer token."


class AccessLost(NotAuthenticated):
    """An open stream's reader logged out, or may not see the conversation any more."""

    code = "access_lost"
    message = "Your access to this conversation has ended."


class OriginRefused(ChatError):
    """A session's unsafe request without a CSRF token and not from this host's own pages."""

    code = "csrf_failed"
    message = "This request needs a CSRF token, or, as JSON, an Origin header of this host."


class ReadOnly(ChatError):
    """The asker may see the thread, and not do this to it. Nothing was written."""

    code = "read_only"
    message = "You may read this thread, and not change it."


class NotFound(ChatError):
    """There is no such object, or none the asker may know of: both look the same."""

    code = "not_found"
    message = "Not found."


class ThreadNotFound(NotFound):
    code = "thread_not_found"
    message = "There is no such thread."


class ChatNotFound(NotFound):
    code = "chat_not_found"
    message = "There is no such copilot chat."


class TurnNotFound(NotFound):
    code = "turn_not_found"
    message = "There is no such turn."


class MessageNotFound(NotFound):
    code = "message_not_found"
    message = "There is no such message."


class ApprovalNotFound(NotFound):
    """The turn has never waited for this call; ``details["field"]`` names the decision."""

    code = "approval_not_found"
    message = "The turn does not wait for a decision on this call."


class Conflict(ChatError):
    """The request is well formed, and the state of things speaks against it."""

    code = "conflict"
    message = "The request conflicts with what is stored."


class TurnConflict(Conflict):
    """The turn id was used before, for another payload. Nothing was written."""

    code = "turn_conflict"
    message = "This turn id was already used for a different request."


class ThreadBusy(Conflict):
    """Another turn of the thread is live; ``details`` name it and its cursor. Nothing was written."""

    code = "thread_busy"
    message = "The thread is answering another message."


class ChatBusy(Conflict):
    """A turn of the copilot chat is live; ``details`` name it, its stream and its cursor. Nothing was written."""

    code = "chat_busy"
    message = "The copilot chat is answering another message."


class TurnEnded(Conflict):
    """The turn that this would go on with has ended; ``details`` say how. Nothing was written."""

    code = "turn_ended"
    message = "This turn has ended. Send a new message, or ask for another answer."


class AlreadyDecided(Conflict):
    """Somebody else has decided otherwise; ``details["outcome"]`` is what there is. Nothing was written."""

    code = "already_decided"
    message = "This call was decided on already, and otherwise."


class ApprovalExpired(TurnEnded):
    """Nobody decided in time on what the turn waited for: how such a turn ends, and what it says."""

    code = "approval_expired"
    message = "Nobody decided in time on what this answer waited for."


class StaleMessages(Conflict):
    """The history has changed since it was read; ``details`` have its version now. Nothing was written."""

    code = "stale_messages"
    message = "The history has changed since you read it. Read it again."


class QueueFull(Conflict):
    """As many turns wait in the thread as may. Nothing was written."""

    code = "queue_full"
    message = "Too many messages wait in this thread already."


class QuotaExceeded(ChatError):
    """The asker has used what they may. ``details``: ``limit`` (``tokens_a_day``, ``turns_a_minute``, ``live_turns``),
    how much is ``allowed`` and ``used`` (tokens: with what live turns reserve), ``resets_at`` (a time; None where a
    live turn must end first) and ``retry_after`` (seconds). Nothing was written.
    """

    code = "quota_exceeded"
    message = "You have used what you may."


class AttachmentLimit(Conflict):
    """The asker keeps as many files, or bytes, as they may. Nothing was kept."""

    code = "attachment_limit"
    message = "You keep as many files as you may. Delete some first."


class TooManyTokens(Conflict):
    """The asker has as many tokens as they may. None was made."""

    code = "too_many_tokens"
    message = "You have as many tokens as you may. Revoke some first."


class TooManyShares(Conflict):
    """As many links of the asker's are good as may be. None was made."""

    code = "too_many_shares"
    message = "You have as many links as you may. Revoke some first."


class UnsupportedType(ChatError):
    """A file of a type that is not taken, by what its bytes say."""

    code = "unsupported_type"
    message = "Files of this type are not taken."


class SessionNeeded(ChatError):
    """Something that a token may not do: who has stolen one could keep what it gives."""

    code = "session_needed"
    message = "Log in for this: a token is not enough."


class TooManyRequests(ChatError):
    """The asker sends more than they may; ``details``: ``retry_after`` (seconds). Nothing was done."""

    code = "too_many_requests"
    message = "Too many requests. Try again in a moment."


class Contention(ChatError):
    """Rows came and went under us more often than the loop allows; the request may be sent again."""

    code = "contention"
    message = "Too many writers at once. Try again."


class ServerFull(ChatError):
    """The process runs as many turns as it may. Nothing was written."""

    code = "server_full"
    message = "The server is busy. Try again in a moment."


class Unavailable(ChatError):
    """The database did not answer."""

    code = "unavailable"
    message = "The service is not available at the moment. Try again."


class MethodNotAllowed(ChatError):
    """``details["allow"]`` is the method that the address takes."""

    code = "method_not_allowed"
    message = "This address does not take that method."


class InternalError(ChatError):
    """A fault of ours: what it was stands in the log, never in the answer."""

    code = "internal"
    message = "Something went wrong on the server."


class CursorGone(ChatError):
    """The chunks behind this cursor were pruned, or never were: the turn ended before."""

    code = "cursor_gone"
    message = "This cursor is no longer in the turn's log. Read the stream from its start."
