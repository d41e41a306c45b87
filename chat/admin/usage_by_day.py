"""A page of the admin: usage by day and model, as a chart, a table and CSV."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from chat.access.scopes import scope_of
from chat.admin.cells import dollars, one_line
from chat.admin.read_only import ReadOnlyAdmin
from chat.admin.usage_chart import UNKNOWN, draw
from chat.models import TokenUsage
from chat.protocol.usage_csv import csv_pieces
from chat.store.crossing import stepwise
from chat.store.policies import administered_threads
from chat.store.scope import Scope
from chat.store.usage_totals import Totals, usage_pages

SPANS = (7, 30, 90)
MEASURES = {"tokens": "total_tokens", "cost": "cost_micros"}
GROUP = ("day", "model")
COUNTED = ("turns", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "total_tokens")


class UsageByDay(ReadOnlyAdmin[TokenUsage]):
    """The page and its download, for who may view usage. Days are of UTC."""

    change_list_template = "admin/chat/tokenusage/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        wrap, name = self.admin_site.admin_view, "chat_tokenusage_by_day"
        own = [
            path("by-day/", wrap(self.by_day), name=name),
            path("by-day.csv", wrap(self.by_day_csv), name=f"{name}_csv"),
        ]
        return [*own, *super().get_urls()]

    def by_day(self, request: HttpRequest) -> TemplateResponse:
        scope, days, totals = self._asked(request)
        measure = request.GET.get("of", "")
        measure = measure if measure in MEASURES else "tokens"
        found = [total for page in usage_pages(scope, totals) for total in page]
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Usage by day and model",
            "chart": draw(days, found, MEASURES[measure]) if found else None,
            "models": _by_model(found),
            "spans": [(span, span == len(days)) for span in SPANS],
            "measures": [(name, name == measure) for name in MEASURES],
            "span": len(days),
            "measure": measure,
            "first": f"{days[0]:%Y-%m-%d}",
            "last": f"{days[-1]:%Y-%m-%d}",
        }
        return TemplateResponse(request, "admin/chat/tokenusage/by_day.html", context)

    def by_day_csv(self, request: HttpRequest) -> StreamingHttpResponse:
        scope, days, totals = self._asked(request)
        name = f"usage-{days[0]}-{days[-1]}.csv"
        return StreamingHttpResponse(
            stepwise(csv_pieces(GROUP, usage_pages(scope, totals))),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def _asked(self, request: HttpRequest) -> tuple[Scope, list[date], Totals]:
        """Raises PermissionDenied. Who may view all the rows may sum them."""
        if not self.has_view_permission(request) or administered_threads(request.user) is not None:
            raise PermissionDenied
        given = request.GET.get("days", "")
        span = int(given) if given in map(str, SPANS) else 30
        until = datetime.combine(datetime.now(UTC).date(), time.min, UTC) + timedelta(days=1)
        since = until - timedelta(days=span)
        days = [(since + timedelta(days=number)).date() for number in range(span)]
        return replace(scope_of(request.user), all_usage=True), days, Totals(since, until, user=None, group=GROUP)


def _by_model(totals: list[dict[str, Any]]) -> list[dict[str, str]]:
    """A line for each model, the dearest first."""
    lines: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for total in totals:
        for figure in (*COUNTED, "cost_micros"):
            lines[total["model"]][figure] += total[figure]
    ranked = sorted(lines.items(), key=lambda line: (-line[1]["cost_micros"], -line[1]["total_tokens"], line[0]))
    return [
        {
            "model": one_line(model) or UNKNOWN,
            "cost": dollars(line["cost_micros"]),
            **{figure: f"{line[figure]:,}" for figure in COUNTED},
        }
        for model, line in ranked
    ]
