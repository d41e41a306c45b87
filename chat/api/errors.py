"""Errors on the wire: ``{"error": {"code", "message", …}}`` and the status that fits."""

from __future__ import annotations

import logging
from typing import Any

import orjson
from rest_framework import exceptions

from chat import errors
from chat.store.sql import UNAVAILABLE
from chat.telemetry import event

logger = logging.getLogger(__name__)

# The most special class of an error decides.
STATUS: dict[type[errors.ChatError], int] = {
    errors.InvalidInput: 400,
    errors.NotAuthenticated: 401,
    errors.OriginRefused: 403,
    errors.ReadOnly: 403,
    errors.SessionNeeded: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.MethodNotAllowed: 405,
    errors.CursorGone: 410,
    errors.BodyTooLarge: 413,
    errors.UnsupportedType: 415,
    errors.QuotaExceeded: 429,
    errors.TooManyRequests: 429,
    errors.Contention: 503,
    errors.ServerFull: 503,
    errors.Unavailable: 503,
}
RETRY_AFTER = "2"


def status_of(error: errors.ChatError) -> int:
    """The HTTP status of an error; 500 for one that has none."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def headers_of(error: errors.ChatError) -> dict[str, str]:
    """Headers that belong to an error's answer."""
    headers = {"Cache-Control": "no-store"}
    if status_of(error) == 503:
        headers["Retry-After"] = RETRY_AFTER
    if status_of(error) == 429:
        headers["Retry-After"] = str(error.details["retry_after"])
    if status_of(error) == 405:
        headers["Allow"] = error.details["allow"]
    if status_of(error) == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def content_of(error: errors.ChatError) -> dict[str, Any]:
    """What is told of an error: its code, its message and its details."""
    return {"code": error.code, "message": error.text, **error.details}


def body_of(error: errors.ChatError) -> bytes:
    """The JSON that tells an error."""
    return orjson.dumps({"error": content_of(error)}, default=str)


def told(problem: Exception, place: str) -> errors.ChatError:
    """What a client is told of an exception. What is not for it to know is logged, with the ``place`` (a class or a
    function of ours) where it happened.
    """
    if isinstance(problem, errors.ChatError):
        return problem
    if isinstance(problem, UNAVAILABLE):
        logger.error("%s: the database does not answer", place, extra=event("database_away", place=place))
        return errors.Unavailable()
    fields = event("request_failed", place=place, problem=type(problem).__name__)
    logger.error("%s failed", place, exc_info=problem, extra=fields)
    return errors.InternalError()


def from_framework(problem: exceptions.APIException) -> tuple[int, dict[str, Any]]:
    """What Django REST framework itself refuses (method, permission, throttle) in our shape."""
    detail = problem.detail
    if problem.status_code == 401:
        # What an authenticator says of a token; that there was none is said in words of ours.
        told = str(detail) if isinstance(problem, exceptions.AuthenticationFailed) else errors.NotAuthenticated.message
        return 401, {"error": {"code": errors.NotAuthenticated.code, "message": told}}
    code = detail.code if isinstance(detail, exceptions.ErrorDetail) else problem.default_code
    return problem.status_code, {"error": {"code": code, "message": str(detail)}}
