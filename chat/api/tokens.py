"""The asker's bearer tokens."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from chat import conf
from chat.api.views import ChatView, answer, page
from chat.errors import SessionNeeded
from chat.models import ApiToken
from chat.protocol import sanitize
from chat.protocol.requests import TokenBody
from chat.store.tokens import add_token, list_tokens, revoke_token


class Tokens(ChatView):
    def get(self, request: Request) -> HttpResponse:
        return page(request, list_tokens(self.asker()))

    def post(self, request: Request) -> HttpResponse:
        """A new token, which is told this once. Not for a request that a token makes."""
        if isinstance(request.auth, ApiToken):
            raise SessionNeeded
        body = self.body(TokenBody)
        sanitize.check(body.name, "name")
        return answer(add_token(self.asker(), body.name, most=conf.get("TOKENS_OF_USER")), status=201)


class Token(ChatView):
    def delete(self, request: Request, pk: int) -> HttpResponse:
        revoke_token(self.asker(), pk)
        return HttpResponse(status=204)
