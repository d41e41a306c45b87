"""``/api/usage/``: what the asker's turns have used, summed. Days are of UTC.

``from`` and ``to`` are days (both belong to the time) or moments with a time zone (``to`` does not); thirty days up to
today without them, and no more than 366. ``group`` names what to sum by, separated by commas: ``day`` (the default),
``model``, ``thread``; empty for one total. ``thread`` and ``model`` choose. A superuser may ask for somebody else with
``user=<id>``, for everybody with ``user=all``, and group by ``user``. ``format=csv`` streams all of it as CSV.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import orjson
from django.http import HttpResponse, StreamingHttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from chat.api.views import ChatView, page
from chat.errors import InvalidInput
from chat.protocol import sanitize
from chat.protocol.requests import checked_name
from chat.protocol.usage_csv import csv_pieces
from chat.store.crossing import stepwise
from chat.store.usage_totals import GROUPS, Totals, chosen_user, usage_pages, usage_totals

PAGE = 1000
DAY = timedelta(days=1)
USUAL, LONGEST = timedelta(days=30), timedelta(days=366)
EARLIEST, LATEST = 1970, 9000


class Usage(ChatView):
    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        # The framework would look for a renderer of ?format=, which is ours to answer.
        return JSONRenderer(), JSONRenderer.media_type

    def get(self, request: Request) -> HttpResponse | StreamingHttpResponse:
        asker = self.asker()
        kind = request.query_params.get("format", "json")
        if kind not in ("json", "csv"):
            raise InvalidInput("format", "format is json or csv.")
        since, until = self._time()
        names = request.query_params
        totals = Totals(
            since=since,
            until=until,
            user=chosen_user(asker, names.get("user")),
            group=self._group(),
            thread=checked_name(names["thread"], "thread") if "thread" in names else None,
            model=self._model(),
        )
        limit, after = self.number("limit", PAGE, most=PAGE), self._after(totals.group)
        if kind == "csv":
            # The last day that belongs to the time.
            name = f"usage-{since:%Y-%m-%d}-{until - timedelta(microseconds=1):%Y-%m-%d}.csv"
            return StreamingHttpResponse(
                stepwise(csv_pieces(totals.group, usage_pages(asker, totals))),
                content_type="text/csv; charset=utf-8",
                headers={"Content-Disposition": f'attachment; filename="{name}"'},
            )
        found = usage_totals(asker, totals, after=after, limit=limit + 1)
        more = None
        if len(found) > limit:
            more = {"after": orjson.dumps([found[limit - 1][name] for name in totals.group]).decode()}
        return page(request, found[:limit], more=more)

    def _time(self) -> tuple[datetime, datetime]:
        given = self.request.query_params
        today = datetime.combine(datetime.now(UTC).date(), time.min, UTC)
        until = self._moment("to", end=True) if "to" in given else today + DAY
        since = self._moment("from") if "from" in given else until - USUAL
        if not timedelta() < until - since <= LONGEST:
            raise InvalidInput("from", f"from is before to, by at most {LONGEST.days} days.")
        return since, until

    def _moment(self, name: str, *, end: bool = False) -> datetime:
        # A plus sign that was not escaped in the URL comes as a space.
        text = self.request.query_params[name].strip().replace(" ", "+")
        try:
            if len(text) == len("2026-11-22"):
                moment = datetime.combine(date.fromisoformat(text), time.min, UTC) + (DAY if end else timedelta())
            else:
                moment = datetime.fromisoformat(text)
            if moment.tzinfo is not None and EARLIEST <= moment.year <= LATEST:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise InvalidInput(name, f"{name} is a day (2026-11-22) or a moment (2026-11-22T08:00:00Z).")

    def _group(self) -> tuple[str, ...]:
        given = self.request.query_params.get("group", "day")
        names = [name for name in given.split(",") if name]
        if not set(names) <= set(GROUPS):
            raise InvalidInput("group", f"group is any of {', '.join(GROUPS)}, separated by commas.")
        return tuple(name for name in GROUPS if name in names)

    def _model(self) -> str | None:
        model = self.request.query_params.get("model")
        sanitize.check(model, "model")
        return model

    def _after(self, group: tuple[str, ...]) -> list[str] | None:
        text = self.request.query_params.get("after")
        if text is None:
            return None
        try:
            keys = orjson.loads(text)
        except ValueError:
            keys = None
        if not (isinstance(keys, list) and len(keys) == len(group) > 0 and all(isinstance(key, str) for key in keys)):
            raise InvalidInput("after", "after is taken from the next of a page.")
        for key in keys:
            sanitize.check(key, "after")
        return keys
