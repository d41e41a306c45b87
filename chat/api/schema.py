"""The OpenAPI schema and its page. drf-spectacular serves them, beside the host's own views; what ours take and give is
said by ``operations``: they have no serializers, and the streaming ones are no views of the framework.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from rest_framework.request import Request

from chat.api.operations import OPERATIONS, STREAM, Operation
from chat.api.shapes import Error
from chat.api.views import ChatView
from chat.errors import NotFound

REFERENCE = "#/components/schemas/{model}"
PLACE = re.compile(r"<(?:(\w+):)?(\w+)>")
KINDS: dict[str, dict[str, Any]] = {
    "pk": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    "uuid": {"type": "string", "format": "uuid"},
    "str": {"type": "string", "minLength": 1, "maxLength": 128},
}
#: The apps that have the page's script, and those that this one starts.
PAGE_OF = ("drf_spectacular", "drf_spectacular_sidecar")
SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"session": []}]
HEADERS = {
    "x-vercel-ai-ui-message-stream": {"schema": {"type": "string"}, "description": "v1"},
    "x-accel-buffering": {"schema": {"type": "string"}, "description": "no"},
}
EVENTS = "Server-sent events: an `id:` line with the cursor, a `data:` line with one AI SDK chunk, `[DONE]` last."
MEANINGS = {
    200: "Done.",
    201: "Made.",
    202: "Taken on.",
    204: "Nothing to tell.",
    400: "Something cannot be; `field` says what.",
    401: "Nobody is logged in.",
    403: "Not allowed.",
    404: "Missing, or somebody else's.",
    405: "Not this method.",
    409: "It conflicts with what is stored.",
    410: "Pruned.",
    413: "Too large.",
    415: "Not this type.",
    429: "Too much; `Retry-After` says when.",
    503: "Try again; `Retry-After` says when.",
}


def without_chat(endpoints: list[tuple[str, str, str, Any]], **kwargs: Any) -> list[tuple[str, str, str, Any]]:
    """For ``PREPROCESSING_HOOKS``: the framework's views have nothing to say about ours."""
    return [one for one in endpoints if not one[3].__module__.startswith(("chat.", "drf_spectacular."))]


def without_views(endpoints: list[Any], **kwargs: Any) -> list[Any]:
    """No view speaks for itself: all that ``with_chat`` tells is in ``OPERATIONS``."""
    return []


def with_chat(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """For ``POSTPROCESSING_HOOKS``: the operations of this application, wherever the host has put it."""
    models: set[type[BaseModel]] = {Error}
    for operations in OPERATIONS.values():
        for operation in operations.values():
            models |= {one for one in (operation.answer, operation.body) if isinstance(one, type)}
    ordered = sorted(models, key=lambda model: model.__name__)
    references, definitions = models_json_schema([(model, "validation") for model in ordered], ref_template=REFERENCE)
    schema_of = {model: references[(model, "validation")] for model in ordered}
    for name, path in _paths(get_resolver().url_patterns):
        operations = OPERATIONS.get(name, {})
        for method, operation in operations.items():
            address = "/" + PLACE.sub(r"{\2}", path)
            result["paths"].setdefault(address, {})[method] = _told(name, method, path, operation, schema_of)
    components = result.setdefault("components", {})
    components.setdefault("schemas", {}).update(definitions.get("$defs", {}))
    components.setdefault("securitySchemes", {}).update(
        bearer={"type": "http", "scheme": "bearer"},
        session={"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME},
    )
    return result


def _paths(patterns: list[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _paths(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern) and pattern.callback.__module__.startswith("chat."):
            yield pattern.name or "", path


def _told(name: str, method: str, path: str, operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    has_place = bool(PLACE.search(path))
    statuses = {operation.status, *operation.also, 400, 429, 503}
    statuses |= {401} if not operation.public else set()
    statuses |= {404} if has_place or name.startswith("copilot") else set()
    statuses |= {413} if operation.body else set()
    told: dict[str, Any] = {
        "operationId": f"{name}-{method}".replace("-", "_"),
        "summary": operation.summary,
        "tags": ["copilot chats" if name.startswith("copilot") else "chat"],
        "parameters": [
            *(
                {"name": found[2], "in": "path", "required": True, "schema": KINDS[found[1] or "str"]}
                for found in PLACE.finditer(path)
            ),
            *({"name": one, "in": "query", "schema": schema} for one, schema in (operation.query or {}).items()),
        ],
        "responses": {str(status): _answer(operation, status, schema_of) for status in sorted(statuses)},
        "security": [] if operation.public else SECURITY,
    }
    if operation.deprecated:
        told["deprecated"] = True
    if isinstance(operation.body, dict):
        content = {kind: {"schema": schema} for kind, schema in operation.body.items()}
        told["requestBody"] = {"required": True, "content": content}
    elif operation.body is not None:
        told["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[operation.body]}},
        }
    return told


def _answer(operation: Operation, status: int, schema_of: dict[Any, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"description": MEANINGS[status]}
    if status >= 400:
        return told | {"content": {"application/json": {"schema": schema_of[Error]}}}
    if status == 204 or operation.answer is None:
        return told
    if operation.answer == STREAM:
        return {"description": EVENTS, "headers": HEADERS, "content": {STREAM: {}}}
    if isinstance(operation.answer, str):
        return told | {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
    content: dict[str, Any] = {"application/json": {"schema": schema_of[operation.answer]}}
    formats = (operation.query or {}).get("format", {}).get("enum", ())
    for name, kind in (("markdown", "text/markdown"), ("csv", "text/csv")):
        if name in formats:
            content[kind] = {"schema": {"type": "string"}}
    return told | {"content": content}


class Schema(ChatView, SpectacularAPIView):
    """The schema, as JSON or YAML, for who is logged in: of this application, whatever the host has set for its own."""

    renderer_classes = SpectacularAPIView.renderer_classes
    custom_settings: dict[str, Any] | None = {
        "PREPROCESSING_HOOKS": ["chat.api.schema.without_views"],
        "POSTPROCESSING_HOOKS": ["chat.api.schema.with_chat"],
    }


class Docs(ChatView, SpectacularSwaggerSplitView):
    """The schema to read and try, without inline script or style and without a foreign host: what it runs, with its
    reader's session, are the sidecar's files, whatever the host has set for its own page. Not found where one of
    ``PAGE_OF`` is not installed.
    """

    renderer_classes = SpectacularSwaggerSplitView.renderer_classes
    url_name = "schema"
    url_name_self = "docs"
    template_name = "chat/api_docs.html"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not all(map(apps.is_installed, PAGE_OF)):
            raise NotFound
