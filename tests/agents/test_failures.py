"""What the library raises becomes an error of ours with a stable code, and no word of it is shown or logged."""

from __future__ import annotations

import pytest
from pydantic_ai import exceptions as theirs

from chat.agents.pydantic_ai.failures import known_failure

SECRET = "sk-secret"
LIMITED = theirs.ModelRateLimitError("m", SECRET, retry_after=7)
TOO_LARGE = theirs.ModelHTTPError(413, "m", SECRET)


@pytest.mark.parametrize(
    ("problem", "code", "log"),
    [
        (LIMITED, "model_rate_limited", "retry_after=7"),
        (theirs.ConcurrencyLimitExceeded(SECRET), "model_rate_limited", "ConcurrencyLimitExceeded"),
        (theirs.RunTimedOut(SECRET), "model_timed_out", "RunTimedOut"),
        (TOO_LARGE, "conversation_too_long", "status_code=413"),
        (theirs.ModelHTTPError(422, "m", SECRET), "model_rejected", "status_code=422"),
        (theirs.ModelAPIError("m", SECRET), "model_unreachable", "ModelAPIError"),
        (theirs.FallbackExceptionGroup("all failed", [TOO_LARGE, LIMITED]), "model_rate_limited", "retry_after=7"),
    ],
)
def test_each_has_its_code_and_tells_figures_only(problem: Exception, code: str, log: str) -> None:
    failure = known_failure(problem)
    assert failure
    assert failure.code == code
    assert log in failure.log
    assert SECRET not in failure.log + failure.text


def test_a_set_up_that_is_wrong_is_logged_with_the_line_that_found_it() -> None:
    with pytest.raises(theirs.UserError) as raised:
        raise theirs.UserError("sk-" + "secret")
    failure = known_failure(raised.value)
    assert failure
    assert failure.code == "model_misconfigured"
    assert __file__ in failure.log
    assert SECRET not in failure.log + failure.text


def test_what_is_not_the_library_s_is_nobody_s() -> None:
    assert known_failure(ValueError(SECRET)) is None
