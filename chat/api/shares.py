"""Links that show a thread to whoever has them."""

from __future__ import annotations

from django.http import HttpResponse
from django.urls import reverse
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.request import Request

from chat import conf
from chat.api.threads import named_thread
from chat.api.views import ChatView, answer, page
from chat.errors import InvalidInput
from chat.protocol.requests import ShareBody, checked_name
from chat.store.shares import create_share, list_shares, read_share, revoke_share


class Shares(ChatView):
    def get(self, request: Request, thread_id: str) -> HttpResponse:
        asker = self.asker()
        return page(request, list_shares(asker, named_thread(asker, thread_id)))

    def post(self, request: Request, thread_id: str) -> HttpResponse:
        """A link to the thread as it stands. Its address is told this once."""
        days = self.body(ShareBody).days
        most = conf.get("SHARE_MOST_DAYS")
        if days is None:
            days = conf.usual_share_days()
        if most and not 0 < days <= most:
            raise InvalidInput("days", f"A link is good for at most {most} days.")
        asker = self.asker()
        secret, share = create_share(asker, named_thread(asker, thread_id), days or None)
        path = reverse("shared", kwargs={"secret": secret})
        return answer({**share, "secret": secret, "path": path}, status=201)


class Share(ChatView):
    def delete(self, request: Request, pk: int) -> HttpResponse:
        revoke_share(self.asker(), pk)
        return HttpResponse(status=204)


class Shared(ChatView):
    """What a link shows, to anybody who has it."""

    permission_classes = (AllowAny,)

    def get_authenticators(self) -> list[BaseAuthentication]:
        return []  # who has a revoked token as well may read it, too

    def get(self, request: Request, secret: str) -> HttpResponse:
        shown = read_share(checked_name(secret, "secret"))
        messages = [{name: one[name] for name in one if name != "html"} for one in shown["messages"]]
        response = answer({**shown, "messages": messages})
        # It is not to be found by those who were not given it, nor to be told to others by a browser.
        response["X-Robots-Tag"] = "noindex"
        response["Referrer-Policy"] = "no-referrer"
        return response
