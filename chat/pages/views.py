"""The page and its login. What the page shows it fetches from the API, as any other client does."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.defaultfilters import filesizeformat
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from chat import conf
from chat.access.logins import ThrottledLogin
from chat.agents.base import DEMO, agent_path
from chat.pages.suggestions import DEMO_SUGGESTIONS

SHARE_LABELS = {1: "a day", 7: "a week", 30: "a month", 365: "a year"}


@require_safe
@never_cache  # after a logout, the Back button must not show who was here
@login_required
def conversation(request: HttpRequest, thread_id: UUID | None = None) -> HttpResponse:
    """One page for every thread: the script reads the id from the address, and the API says whether it
    exists. So this view cannot tell anybody whether another's thread does.
    """
    return render(
        request,
        "chat/conversation.html",
        {
            "suggestions": DEMO_SUGGESTIONS if agent_path() == DEMO else [],
            # What the script reads is text: a template would put separators into a number.
            "most_bytes": str(conf.get("ATTACHMENT_BYTES")),
            "attachable": _attachable(),
            **_share_days(),
        },
    )


def _attachable() -> str:
    """What may be attached, as people say it."""
    types = conf.get("ATTACHMENT_TYPES")
    kinds = {"pictures": "image/", "PDF": "application/pdf", "text": "text/"}
    known = [name for name, prefix in kinds.items() if any(kind.startswith(prefix) for kind in types)]
    known += [kind for kind in types if not kind.startswith(tuple(kinds.values()))]
    return f"{', '.join(known)}, up to {filesizeformat(conf.get('ATTACHMENT_BYTES'))} each"


def _share_days() -> dict[str, Any]:
    """For how many days a link to a thread may be made good, and for how many it usually is."""
    usual, most = conf.usual_share_days(), conf.get("SHARE_MOST_DAYS")
    days = {*SHARE_LABELS, usual} - {0}
    choices = [(str(each), SHARE_LABELS.get(each, f"{each} days")) for each in sorted(days) if each <= (most or each)]
    if not usual:
        choices.append(("", "as long as nobody revokes it"))
    return {"share_days": choices, "share_usual": str(usual or "")}


class Login(LoginView):
    template_name = "chat/login.html"
    authentication_form = ThrottledLogin
    redirect_authenticated_user = True

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_invalid(form)
        if (refused := getattr(form, "refused", None)) is not None:  # None in a form of the host's own
            response.status_code = 429
            response["Retry-After"] = str(refused.details["retry_after"])
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        # Where `make run` has made it.
        is_there = settings.DEBUG and getattr(settings, "EMBEDDED_POSTGRES", None)
        return super().get_context_data(**kwargs, show_demo_account=bool(is_there))
