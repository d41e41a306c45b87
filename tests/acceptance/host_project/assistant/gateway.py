"""The host's own: who is asking, where is read, and what no view of chat may come to depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import BasePermission
from rest_framework.throttling import BaseThrottle


class Badge(BaseAuthentication):
    """What a gateway in front says of who is there: a header that only it may set."""

    def authenticate(self, request: Any) -> tuple[Any, None] | None:
        name = request.META.get("HTTP_X_BADGE")
        if name is None:
            return None
        person = get_user_model().objects.filter(username=name).first()
        if person is None:
            raise AuthenticationFailed("No such person.")
        return person, None


class Nobody(BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        return False


class Closed(BaseThrottle):
    def allow_request(self, request: Any, view: Any) -> bool:
        return False


class NothingFits(BaseContentNegotiation):
    def select_parser(self, request: Any, parsers: Any) -> None:
        return None

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        raise AssertionError("the host's renderers are for the host's views")


def swallow(exc: Exception, context: Any) -> None:
    return None


class StampMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response["X-Stamp"] = "the host was here"
        return response


class ReadFromReplica:
    """Reads go to the replica, as a busy host has it; sessions are read where they are written."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "default" if model._meta.app_label == "sessions" else "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "default"
