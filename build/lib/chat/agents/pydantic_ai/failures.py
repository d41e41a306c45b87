"""What the library and its providers raise, as errors of ours. What they say is neither shown nor logged."""

from __future__ import annotations

import re
import traceback

from pydantic_ai import exceptions as theirs

from chat.agents import errors as ours
from chat.agents.errors import AgentError

#: By class; the first that fits, so the narrower ones come first.
KINDS: tuple[tuple[type[Exception], type[AgentError]], ...] = (
    (theirs.RunTimedOut, ours.ModelTimedOut),
    (theirs.ModelQuotaExceededError, ours.ModelQuotaSpent),
    (theirs.ModelUnavailableError, ours.ModelUnavailable),
    (theirs.ModelServerError, ours.ModelUnavailable),
    (theirs.ModelTimeoutError, ours.ModelTimedOut),
    (theirs.ModelRequestTimeout, ours.ModelTimedOut),
    (theirs.ModelConnectionError, ours.ModelUnreachable),
    (theirs.ModelContextWindowExceededError, ours.ConversationTooLong),
    (theirs.ModelAuthenticationError, ours.ModelMisconfigured),
    (theirs.ModelNotFoundError, ours.ModelMisconfigured),
    (theirs.ModelRequestRejectedError, ours.ModelRejected),
    (theirs.ContentFilterError, ours.ModelRefused),
    (theirs.OutputTokenLimitExceeded, ours.AnswerTooLong),
    (theirs.UsageLimitExceeded, ours.BudgetSpent),
    (theirs.UnexpectedModelBehavior, ours.ModelConfused),
    (theirs.UserError, ours.ModelMisconfigured),
)
_PLAIN = re.compile(r"[\w.-]{1,64}")


def known_failure(problem: BaseException) -> AgentError | None:
    """The error of ours that an exception of the library stands for; None for any other exception."""
    if isinstance(problem, BaseExceptionGroup):
        # All models of a fallback failed: the last one's reason is as good as any.
        return known_failure(problem.exceptions[-1])
    log = _figures(problem)
    if isinstance(problem, theirs.ModelRateLimitError):
        return ours.ModelRateLimited(retry_after=problem.retry_after, log=log)
    if isinstance(problem, theirs.ConcurrencyLimitExceeded):
        return ours.ModelRateLimited(log=log)
    for kind, error in KINDS:
        if isinstance(problem, kind):
            return error(log=log)
    if isinstance(problem, theirs.ModelHTTPError):
        too_long = problem.status_code == 413
        return ours.ConversationTooLong(log=log) if too_long else ours.ModelRejected(log=log)
    if isinstance(problem, theirs.ModelAPIError):  # an answer that is no answer, or that broke off
        return ours.ModelUnreachable(log=log)
    return None


def _figures(problem: BaseException) -> str:
    """Names and numbers only: a provider's message may quote the conversation, or the key it refuses."""
    said = [type(problem).__name__]
    for name in ("status_code", "provider_error_code", "phase", "retry_after"):
        value = getattr(problem, name, None)
        if isinstance(value, int | float) or (isinstance(value, str) and _PLAIN.fullmatch(value)):
            said.append(f"{name}={value}")
    if isinstance(problem, theirs.UserError):  # the line that raised it says what is wrong with the set-up
        said += ["at\n", *traceback.format_tb(problem.__traceback__)[-1:]]
    return " ".join(said)
