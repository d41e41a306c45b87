"""``/healthz``: the process answers. ``/readyz``: it can do its work."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse

from chat.api.views import answer
from chat.store.health import unready


@login_not_required  # where the host has LoginRequiredMiddleware
def healthz(request: HttpRequest) -> HttpResponse:
    return answer({"status": "ok"})


@login_not_required
def readyz(request: HttpRequest) -> HttpResponse:
    reason = unready()
    return answer({"status": reason or "ok"}, status=503 if reason else 200)
