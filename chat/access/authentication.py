"""Who is asking: a Django session or a bearer token.

Both are Django REST framework authenticators. The DRF views use them in the usual way; the streaming
endpoint, which stands in front of Django's handler, runs the very same ones through ``authenticate``.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.exceptions import APIException, AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from chat import conf
from chat.access.callers import BEARER_PROTOCOL
from chat.access.grants import Grant, grant_of
from chat.errors import InvalidInput, NotAuthenticated, OriginRefused
from chat.models import ApiToken
from chat.store import tokens


class SessionOrOrigin(SessionAuthentication):
    """A Django session. An unsafe request needs a CSRF token, or, as JSON, an ``Origin`` that is this host's or
    trusted: a form of a foreign page cannot send JSON, and a foreign script cannot forge its origin. So a
    same-origin ``useChat()`` works without a header. Raises PermissionDenied, which any view of the framework knows.
    """

    def authenticate_header(self, request: Request) -> str:
        # The framework asks the first of a view's authenticators, and answers 403 to nobody where that has none.
        return "Bearer"

    def enforce_csrf(self, request: Request) -> None:
        if _is_json(request) and _own_origin(request):
            return
        try:
            super().enforce_csrf(request)
        except APIException:
            raise PermissionDenied(OriginRefused.message, OriginRefused.code) from None


class Bearer(BaseAuthentication):
    """``Authorization: Bearer <token>``. No cookie is involved, so no CSRF check either.

    Raises AuthenticationFailed, which any view of the framework knows.
    """

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, ApiToken] | None:
        scheme, _, token = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        found = tokens.find_token(token.strip())
        if found is None:
            raise AuthenticationFailed("This token is not known, or was revoked.", NotAuthenticated.code)
        return found.user, found

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def authenticators() -> list[BaseAuthentication]:
    """Those of CHAT_AUTHENTICATION_CLASSES. The host's defaults are for its own views: Django REST framework's would
    let passwords in with every request.
    """
    return [import_string(path)() for path in conf.get("AUTHENTICATION_CLASSES")]


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


def authenticate(scope: dict[str, Any], body: bytes) -> Grant:
    """Who is behind an ASGI request, by the same authenticators, CSRF and host rules as the views.

    Uses the database: call it in a thread. Raises NotAuthenticated, OriginRefused, InvalidInput (``host``).
    """
    return _grant(_request(scope, body))


def authenticate_socket(scope: dict[str, Any]) -> Grant:
    """The same for a WebSocket's handshake. A page cannot set its headers, so a token may come as the subprotocol
    ``bearer.<token>``; and no browser asks before it lets a foreign page open one, so a session needs an ``Origin``
    that is this host's or trusted.
    """
    tokens_offered = [one for one in scope.get("subprotocols", ()) if one.startswith(BEARER_PROTOCOL)]
    headers = [
        *scope["headers"],
        *((b"authorization", b"Bearer " + one.removeprefix(BEARER_PROTOCOL).encode()) for one in tokens_offered[:1]),
    ]
    scheme = "https" if scope.get("scheme") == "wss" else "http"
    request = _request({**scope, "type": "http", "method": "GET", "scheme": scheme, "headers": headers}, b"")
    grant = _grant(request)
    ambient = grant.token is None  # a browser may send such credentials by itself, whoever's page asks
    if ambient and not _own_origin(request) and (grant.session_key is not None or "HTTP_ORIGIN" in request.META):
        raise OriginRefused("A WebSocket of a session needs an Origin of this host.")
    return grant


def _request(scope: dict[str, Any], body: bytes) -> Request:
    plain = ASGIRequest(scope, BytesIO(body))
    try:
        plain.get_host()
    except DisallowedHost:
        raise InvalidInput("host", "This host name is not served here.") from None
    _session.process_request(plain)
    _session_user.process_request(plain)
    return Request(plain, authenticators=authenticators())


def _grant(request: Request) -> Grant:
    try:
        return grant_of(request)
    except AuthenticationFailed as problem:
        raise NotAuthenticated(str(problem.detail)) from None
    except PermissionDenied as problem:
        raise OriginRefused(str(problem.detail)) from None
