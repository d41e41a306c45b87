"""All that a host project includes: the API, the page, and the probes. Stands under any prefix."""

from __future__ import annotations

from django.urls import include, path

from chat.api.health import healthz, readyz
from chat.api.metrics import Metrics
from chat.ws.views import thread_socket

urlpatterns = [
    path("api/", include("chat.api.urls")),
    path("ws/threads/<str:thread_id>/", thread_socket, name="thread-socket"),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", Metrics.as_view(), name="metrics"),
    path("", include("chat.pages.urls")),
]
