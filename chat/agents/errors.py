"""How a turn fails: two kinds of error, each with a stable code and a text that is safe to show.

An agent raises one of these, or lets its own exception pass; ``failure_of`` makes one of any exception. ``retryable``
says whether the same message may well be answered when it is sent again. Nobody ever logs or shows what an exception
says: it may hold the conversation or a key. What is logged is the code, ``log`` and the exception's type and place.
"""

from __future__ import annotations

import traceback
from typing import Any, ClassVar

from chat.errors import ChatError


class AgentError(ChatError):
    """The turn fails; ``code`` (up to 64 characters) and text are shown to the user and kept. ``log`` is for the log
    only: figures, names of types, never content.
    """

    code = "agent_error"
    message = "The assistant could not answer."
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, log: str = "", **details: Any) -> None:
        super().__init__(message, **details)
        self.log = log


class AgentStalled(AgentError):
    """The agent gave no chunk for ``CHAT_STALL_SECONDS``."""

    code = "agent_stalled"
    message = "The assistant stopped answering."
    retryable = True


class ModelRateLimited(AgentError):
    """``retry_after`` are the seconds that the provider asks to wait, where it says."""

    code = "model_rate_limited"
    message = "The model has too much to do. Try again in a moment."
    retryable = True

    def __init__(self, *, retry_after: float | None = None, log: str = "") -> None:
        text = None
        if retry_after is not None and 1 <= retry_after < 24 * 3600:
            text = f"The model has too much to do. Try again in {_span(retry_after)}."
        super().__init__(text, log=log)
        self.retry_after = retry_after


class ModelUnavailable(AgentError):
    code = "model_unavailable"
    message = "The model is not available at the moment. Try again."
    retryable = True


class ModelUnreachable(AgentError):
    """No connection to the provider, or one that broke in mid answer."""

    code = "model_unreachable"
    message = "The connection to the model was lost. Try again."
    retryable = True


class ModelTimedOut(AgentError):
    code = "model_timed_out"
    message = "The model took too long. Try again."
    retryable = True


class ModelConfused(AgentError):
    """The model's answer could not be used: no valid JSON, tool calls that stayed wrong, nothing at all."""

    code = "model_confused"
    message = "The model gave an answer that could not be used. Try again."
    retryable = True


class ModelRefused(AgentError):
    code = "model_refused"
    message = "The model's content filter stopped this answer."


class ModelRejected(AgentError):
    """The provider does not take the request as it is."""

    code = "model_rejected"
    message = "The model does not take this conversation as it is."


class ConversationTooLong(AgentError):
    code = "conversation_too_long"
    message = "The conversation is too long for the model."


class AnswerTooLong(AgentError):
    code = "answer_too_long"
    message = "The answer was longer than it may be."


class BudgetSpent(AgentError):
    """A limit of this server's own: tokens, requests or tool calls of one turn."""

    code = "turn_limit_reached"
    message = "The assistant used up what one answer may cost."


class ModelQuotaSpent(AgentError):
    code = "model_quota_spent"
    message = "The assistant cannot answer: its account with the provider is used up."


class ModelMisconfigured(AgentError):
    """A wrong key, a model that does not exist: for whoever runs the server to mend."""

    code = "model_misconfigured"
    message = "The assistant is not set up correctly."


def failure_of(problem: BaseException) -> AgentError:
    """Any exception of an agent as one of the two kinds, its place kept for the log."""
    if isinstance(problem, AgentError):
        return problem
    kind: type[AgentError] = AgentError
    if isinstance(problem, TimeoutError):
        kind = ModelTimedOut
    elif isinstance(problem, ConnectionError):
        kind = ModelUnreachable
    # Where, but not what.
    where = "".join(traceback.format_tb(problem.__traceback__))
    return kind(log=f"{type(problem).__name__} at\n{where}")


def is_retryable(code: str) -> bool:
    """Whether an error code is a retryable one; False for one that no class here or of an agent has."""
    kinds = [AgentError]
    for kind in kinds:  # which grows
        if kind.code == code:
            return kind.retryable
        kinds += kind.__subclasses__()
    return False


def _span(seconds: float) -> str:
    return f"{round(seconds)} seconds" if seconds < 100 else f"{round(seconds / 60)} minutes"
