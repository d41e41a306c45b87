"""What turns have cost, summed: by day, model, conversation and user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from chat.errors import InvalidInput, NotFound
from chat.protocol.usage import COUNTS, LARGEST
from chat.store.scope import Scope
from chat.store.sql import Row, rows
from chat.store.threads import thread_uuid

#: What totals may be grouped by, in the order of a result's keys.
GROUPS = ("day", "model", "thread", "user")


@dataclass(frozen=True, slots=True)
class Totals:
    """Which totals. ``since`` is the first moment of the time, ``until`` the first one behind it. ``group`` is any of
    ``GROUPS``, in their order; without one there is a single total. ``thread`` names a thread or a copilot chat.
    ``user`` is a primary key, as ``chosen_user`` gives it, or None for everybody.
    """

    since: datetime
    until: datetime
    user: Any
    group: tuple[str, ...] = ("day",)
    thread: str | None = None
    model: str | None = None


def chosen_user(scope: Scope, name: str | None) -> Any:
    """Whose usage a request means: the asker's own, or for who may see that of all somebody else's, or everybody's
    (``all``: None). Raises NotFound for anybody else, whether or not there is such a user, and InvalidInput.
    """
    if name is None or name == str(scope.user_id):
        return scope.user_id
    if not scope.all_usage:
        raise NotFound
    if name == "all":
        return None
    try:
        return get_user_model()._meta.pk.clean(name, None)
    except ValidationError:
        raise InvalidInput("user", "user is a user's id, or all.") from None


def usage_totals(scope: Scope, totals: Totals, *, after: Sequence[str] | None = None, limit: int = 1000) -> list[Row]:
    """At most ``limit`` groups in the order of their keys, behind the one whose keys are ``after``.

    Days are of UTC, ``2026-11-22``; what is unknown (a model that was not reported, a thread that was deleted) is an
    empty text. A turn counts for each model that it called, with that model's share.
    """
    if totals.user != scope.user_id and not scope.all_usage:
        raise NotFound
    by_model = "model" in totals.group or totals.model is not None
    names = [name for name in GROUPS if name in totals.group]
    keys = ", ".join(f'{KEYS[name]} COLLATE "C" AS "{name}"' for name in names)
    columns = ", ".join(f'"{name}"' for name in names)  # user is a word of SQL
    places = ", ".join(f"%(after_{place})s" for place in range(len(names)))
    statement = f"""
    SELECT * FROM (
        SELECT {f"{keys}," if names else ""} count(*) AS turns, {SUMS[by_model]},
               count(*) FILTER (WHERE u.source = 'estimated') AS estimated,
               count(*) FILTER (WHERE u.source = 'missing') AS missing
          FROM token_usage u {MODELS if by_model else ""}
         WHERE u.created_at >= %(since)s AND u.created_at < %(until)s
           {"AND u.user_id = %(user)s" if totals.user is not None else ""}
           {THREAD if totals.thread is not None else ""}
           {"AND b.model = %(model)s" if totals.model is not None else ""}
         {f"GROUP BY {', '.join(str(place + 1) for place in range(len(names)))}" if names else ""}
    ) totals
     {f"WHERE ({columns}) > ({places})" if after else ""}
     {f"ORDER BY {columns}" if names else ""} LIMIT %(limit)s
    """
    return rows(
        statement,
        since=totals.since,
        until=totals.until,
        user=totals.user,
        scope_user=scope.user_id,
        thread_id=thread_uuid(totals.thread or ""),
        thread=totals.thread,
        model=totals.model,
        limit=limit,
        **{f"after_{place}": key for place, key in enumerate(after or ())},
    )


def usage_pages(scope: Scope, totals: Totals, size: int = 1000) -> Iterator[list[Row]]:
    """All groups, page by page: nothing is held in the database between two of them."""
    names = [name for name in GROUPS if name in totals.group]
    after = None
    while True:
        page = usage_totals(scope, totals, after=after, limit=size)
        yield page
        if len(page) < size:
            return
        after = [page[-1][name] for name in names]


KEYS = {
    "day": "to_char(u.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    "model": "b.model",
    "thread": "coalesce(u.thread_id, u.copilot_chat_id)::text",
    "user": "u.user_id::text",
}
KEYS = {name: f"coalesce({key}, '')" for name, key in KEYS.items()}
# A thread that was deleted has cost what it has.
THREAD = """AND (u.copilot_chat_id = %(thread_id)s OR u.thread_id IN (
               SELECT id FROM chat_threads
                WHERE id = %(thread_id)s OR (owner_id = %(scope_user)s AND client_id = %(thread)s)))"""
# Where nobody said which models were called: the one that was asked for, with all of the row's figures.
MODELS = """CROSS JOIN LATERAL (
               SELECT e.key AS model, e.value AS share
                 FROM jsonb_each(CASE jsonb_typeof(u.model_breakdown) WHEN 'object' THEN u.model_breakdown
                                 ELSE '{}' END) e
               UNION ALL
               SELECT (SELECT t.model FROM chat_turns t WHERE t.id = u.turn_id), NULL
                WHERE u.model_breakdown = '{}' OR jsonb_typeof(u.model_breakdown) <> 'object'
          ) b"""


def _sums(figure: str) -> str:
    return ", ".join(
        f"least(coalesce(sum({figure.format(count)}), 0), {LARGEST})::bigint AS {count}" for count in COUNTS
    )


SUMS = {
    False: _sums("u.{0}"),
    True: _sums(
        "CASE WHEN jsonb_typeof(b.share -> '{0}') = 'number' THEN (b.share ->> '{0}')::numeric"
        " WHEN b.share IS NULL THEN u.{0} END"
    ),
}
