"""Who is asking: a Django session or a bearer token.

Both are Django REST framework authenticators. The DRF views use them in the usual way; the streaming
endpoint, which stands in front of Django's handler, runs the very same ones through ``authenticate``.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.request import Request
from rest_framework.settings import api_settings

from chat.errors import InvalidInput, NotAuthenticated, OriginRefused
from chat.store import tokens


class SessionOrOrigin(SessionAuthentication):
    """A Django session. An unsafe request needs a CSRF token, or, as JSON, an ``Origin`` that is this host's or
    trusted: a form of a foreign page cannot send JSON, and a foreign script cannot forge its origin. So a
    same-origin ``useChat()`` works without a header. Raises OriginRefused.
    """

    def enforce_csrf(self, request: Request) -> None:
        if _is_json(request) and _own_origin(request):
            return
        try:
            super().enforce_csrf(request)
        except APIException:
            raise OriginRefused from None


class Bearer(BaseAuthentication):
    """``Authorization: Bearer <token>``. No cookie is involved, so no CSRF check either."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, None] | None:
        scheme, _, token = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        user = tokens.user_of_token(token.strip())
        if user is None:
            raise NotAuthenticated("This token is not known, or was revoked.")
        return user, None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _is_json(request: Request) -> bool:
    content_type: str = request.META.get("CONTENT_TYPE", "")
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _own_origin(request: Request) -> bool:
    origin = request.META.get("HTTP_ORIGIN")
    if not origin:
        return False
    scheme = "https" if request.is_secure() else "http"
    if origin == f"{scheme}://{request.get_host()}":
        return True
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    parsed = urlsplit(origin)
    return any(
        parsed.scheme == trusted.scheme and parsed.netloc.endswith(trusted.netloc.lstrip("*"))
        for trusted in map(urlsplit, settings.CSRF_TRUSTED_ORIGINS)
        if trusted.netloc.startswith("*.")
    )


def _no_view(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError  # a middleware wants something to wrap; only its process_request is used


_session = SessionMiddleware(_no_view)
_session_user = AuthenticationMiddleware(_no_view)


def authenticate(scope: dict[str, Any], body: bytes) -> AbstractBaseUser:
    """The user behind an ASGI request, by the same authenticators, CSRF and host rules as the views.

    Uses the database: call it in a thread. Raises NotAuthenticated, OriginRefused, InvalidInput (``host``).
    """
    plain = ASGIRequest(scope, BytesIO(body))
    try:
        plain.get_host()
    except DisallowedHost:
        raise InvalidInput("host", "This host name is not served here.") from None
    _session.process_request(plain)
    _session_user.process_request(plain)
    request = Request(
        plain,
        authenticators=[
            kind() for kind in cast(list[type[BaseAuthentication]], api_settings.DEFAULT_AUTHENTICATION_CLASSES)
        ],
    )
    try:
        user = request.user
    except AuthenticationFailed as problem:
        raise NotAuthenticated(str(problem.detail)) from None
    if isinstance(user, AnonymousUser) or not user.is_authenticated:
        raise NotAuthenticated
    return user
