"""``/healthz``: the process answers. ``/readyz``: it can do its work."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from chat.api.views import answer
from chat.store.health import unready


def healthz(request: HttpRequest) -> HttpResponse:
    return answer({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    reason = unready()
    return answer({"status": reason or "ok"}, status=503 if reason else 200)
