"""``/metrics``: the figures of ``chat.metrics``, for staff; a Prometheus has a bearer token of such an account."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from chat import conf, metrics
from chat.api.views import ChatView
from chat.errors import NotFound
from chat.store.figures import standing


class Metrics(ChatView):
    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        # Whatever types a scraper names, there is one.
        return JSONRenderer(), JSONRenderer.media_type

    def get(self, request: Request) -> HttpResponse:
        if not request.user.is_staff:
            raise NotFound
        try:
            body, content_type = metrics.exposition(standing(conf.get("LEASE_SECONDS")))
        except ImportError:
            raise NotFound from None
        return HttpResponse(body, content_type=content_type)
