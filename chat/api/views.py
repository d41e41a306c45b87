"""What the JSON views share: who asks, bodies, answers, errors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import orjson
from django.http import HttpResponse
from pydantic import BaseModel
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser, JSONParser
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from chat import conf
from chat.access import throttle
from chat.access.authentication import authenticators
from chat.access.callers import caller_of
from chat.access.scopes import scope_of
from chat.api import errors as wire
from chat.errors import BodyTooLarge, InvalidInput
from chat.protocol import sanitize
from chat.protocol.requests import lenient, parse, told_length
from chat.store.scope import Scope
from chat.store.sql import in_transactions_of_its_own

B = TypeVar("B", bound=BaseModel)
# What somebody looks for is a few words.
QUERY_CHARS = 200


class ChatView(APIView):
    """A view of the chat API. Domain errors, the framework's and our own faults all answer in one shape; what the host
    has set for its own REST views changes nothing here.
    """

    permission_classes: Sequence[type[BasePermission]] = (IsAuthenticated,)
    renderer_classes: Sequence[type[BaseRenderer]] = (JSONRenderer,)
    parser_classes: Sequence[type[BaseParser]] = (JSONParser,)
    throttle_classes: Sequence[type[BaseThrottle]] = ()
    content_negotiation_class = DefaultContentNegotiation
    versioning_class = None

    @classmethod
    def as_view(cls, **given: Any) -> Any:
        return in_transactions_of_its_own(super().as_view(**given))

    def get_authenticators(self) -> list[BaseAuthentication]:
        return authenticators()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        caller = caller_of(request)
        with caller.counted():
            super().initial(request, *args, **kwargs)
        # Nobody is None where the host's UNAUTHENTICATED_USER says so.
        if request.user is not None and request.user.is_authenticated:
            caller.let_in(request.user.pk)
        else:
            throttle.strangers.take(caller.address)

    def asker(self) -> Scope:
        """What the one who asks may see."""
        return scope_of(self.request.user)

    def body(self, kind: type[B]) -> B:
        """The JSON body as ``kind``. Raises InvalidInput, BodyTooLarge."""
        return parse(self._bytes(), kind)

    def document(self) -> Any:
        """The body as whatever JSON it is, values unchecked. Raises InvalidInput, BodyTooLarge."""
        return lenient(self._bytes())

    def _bytes(self) -> bytes:
        most = conf.get("MAX_BODY_BYTES")
        if told_length(self.request.META.get("CONTENT_LENGTH", "")) > most:
            raise BodyTooLarge
        # Not ``body``, which has a bound of Django's own that is meant for forms.
        body: bytes = self.request._request.read(most + 1)
        if len(body) > most:
            raise BodyTooLarge
        return body

    def number(self, name: str, default: int, *, most: int) -> int:
        """A whole number from 1 to ``most`` in the query string. Raises InvalidInput."""
        text = self.request.query_params.get(name, str(default))
        # Not more digits than a row's number has: int() would refuse thousands of them.
        if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= most):
            raise InvalidInput(name, f"{name} is a whole number from 1 to {most}.")
        return int(text)

    def flag(self, name: str) -> bool:
        """``true`` or ``false`` in the query string, false where it is not there. Raises InvalidInput."""
        text = self.request.query_params.get(name, "false")
        if text not in ("true", "false"):
            raise InvalidInput(name, f"{name} is true or false.")
        return text == "true"

    def words(self) -> str:
        """What ``q`` looks for. Raises InvalidInput."""
        text = self.request.query_params.get("q", "")
        if len(text) > QUERY_CHARS:
            raise InvalidInput("q", f"q has at most {QUERY_CHARS} characters.")
        sanitize.check(text, "q")
        return text

    def position(self) -> tuple[datetime, UUID] | None:
        """Behind which row a page of a list by activity begins: ``position_of`` it. Raises InvalidInput."""
        text = self.request.query_params.get("after")
        if text is None:
            return None
        moment, _, name = text.partition("~")
        try:
            # A plus sign that was not escaped in the URL comes as a space.
            updated_at, key = datetime.fromisoformat(moment.replace(" ", "+")), UUID(name)
        except ValueError:
            updated_at = None
        if updated_at is None or updated_at.tzinfo is None:
            raise InvalidInput("after", "after is taken from the next of a page.")
        return updated_at, key

    def handle_exception(self, exc: Exception) -> Any:
        if isinstance(exc, APIException):
            status, body = wire.from_framework(exc)
            response = answer(body, status=status)
            if status == 401:
                response["WWW-Authenticate"] = self.get_authenticate_header(self.request)
            return response
        error = wire.told(exc, type(self).__name__)
        return HttpResponse(
            wire.body_of(error),
            status=wire.status_of(error),
            content_type="application/json",
            headers=wire.headers_of(error),
        )

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.setdefault("Cache-Control", "no-store")
        return response


def answer(value: Any, *, status: int = 200) -> HttpResponse:
    """JSON, encoded once and not by way of a serializer."""
    return HttpResponse(orjson.dumps(value, default=str), status=status, content_type="application/json")


def position_of(row: dict[str, Any]) -> str:
    """Where a row stands in a list by activity."""
    return f"{row['updated_at'].isoformat()}~{row['id']}"


def page(
    request: Request, results: Sequence[Any] | orjson.Fragment, *, more: dict[str, Any] | None = None
) -> HttpResponse:
    """One page of a list, which may be JSON already; ``more`` are the query parameters of the next one, where there is
    one.
    """
    following = None
    if more is not None:
        query = {**request.query_params.dict(), **more}
        following = f"{request.path}?{urlencode(query)}"
    return answer({"results": results, "next": following, "previous": None})
