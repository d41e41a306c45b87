"""Who sends a request, before anybody has looked who that is: what it may cost to find out.

To look up a token or a session is a statement, and on the streaming addresses one of CHAT_DB_THREADS, however wrong it
is. So where the strangers of an address have asked more than CHAT_STRANGERS_A_MINUTE, none that comes from there is
looked up for a moment, except those that were good before: who shares the address with a stranger, and is in, stays in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

from django.conf import settings
from django.http import HttpRequest, parse_cookie
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from chat.access import throttle
from chat.errors import NotAuthenticated, OriginRefused

# What a page that holds a token offers beside the real subprotocol.
BEARER_PROTOCOL = "bearer."

_lock = Lock()
_good: OrderedDict[int | None, None] = OrderedDict()  # hashes of credentials, the last that were used at the end


@dataclass(frozen=True, slots=True)
class Caller:
    """An address, and a hash of the token and session that came with it; None for neither: there is nothing to look
    up, but what an authenticator of the host's own makes of the request.
    """

    address: str
    credentials: int | None

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Around the look who that is: whoever is turned away counts. Raises TooManyRequests, before the look where it
        would cost a statement.
        """
        if self.credentials is not None and self.credentials not in _good:
            throttle.strangers.require(self.address)
        try:
            yield
        except (APIException, NotAuthenticated, OriginRefused):
            with _lock:
                _good.pop(self.credentials, None)
            throttle.strangers.take(self.address)
            raise

    def let_in(self, user_id: Any) -> None:
        """It is this user; one request more of theirs. Raises TooManyRequests."""
        if self.credentials is not None:
            with _lock:
                _good[self.credentials] = None
                _good.move_to_end(self.credentials)
                if len(_good) > throttle.KNOWN:
                    _good.popitem(last=False)
        throttle.requests.take(user_id)


def caller_of(request: HttpRequest | Request) -> Caller:
    """The caller of a Django request."""
    return _caller(
        request.META.get("REMOTE_ADDR"),
        request.META.get("HTTP_AUTHORIZATION"),
        request.COOKIES.get(settings.SESSION_COOKIE_NAME),
    )


def caller_of_scope(scope: dict[str, Any]) -> Caller:
    """The caller of an ASGI request, or of a WebSocket's handshake."""
    headers = dict(scope["headers"])
    cookies = parse_cookie("; ".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"))
    return _caller(
        (scope.get("client") or ("",))[0],
        headers.get(b"authorization"),
        cookies.get(settings.SESSION_COOKIE_NAME),
        *(one for one in scope.get("subprotocols", ()) if one.startswith(BEARER_PROTOCOL)),
    )


def _caller(address: str | None, *credentials: Any) -> Caller:
    return Caller(address or "", hash(credentials) if any(credentials) else None)
