"""Search over titles and messages: PostgreSQL's full text, by a stored vector that triggers keep (migration 0017)."""

from __future__ import annotations

import html
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.search import SearchQuery
from django.db.models import QuerySet

from chat.models import SearchEntry
from chat.store.scope import VISIBLE_THREAD, Scope
from chat.store.sql import Row, row, rows

# What is ranked: the newest entries that hold the words. A word that every message holds is found as quickly as others.
NEWEST = 500
# A snippet is looked for in so many characters of a text.
SNIPPET_FROM = 20_000
# They stand for the ends of a hit until everything else is escaped; they are taken out of the text before.
BEGIN, END = "\x02", "\x03"
HEADLINE = f'StartSel="{BEGIN}", StopSel="{END}", MaxFragments=2, MaxWords=24, MinWords=8, FragmentDelimiter=" … "'


@dataclass(frozen=True, slots=True)
class HitPosition:
    """Where a page of hits begins: behind the one with this rank and entry."""

    rank: float
    entry: int


def search(scope: Scope, q: str, *, after: HitPosition | None = None, limit: int = 20) -> list[Row]:
    """Hits in the titles and current messages of the threads that the asker may see, best first: of the newest
    ``NEWEST``, titles before messages.

    ``q`` is what people type: words, ``"a phrase"``, ``or``, ``-without``; anything is taken, and a last word that is
    being typed stands for all that begin with it. ``snippet`` is HTML in which everything is escaped but ``<mark>``.
    """
    found = rows(
        HITS.format(query=query_of(q)),
        scope_user=scope.user_id,
        q=q,
        rank=after and after.rank,
        entry=after and after.entry,
        limit=limit,
        newest=NEWEST,
        headline=HEADLINE,
        snippet_from=SNIPPET_FROM,
        controls=BEGIN + END,
    )
    return [{**hit, "snippet": _marked(hit["snippet"])} for hit in found]


def entries_with(words: str) -> QuerySet[SearchEntry]:
    """The entries that hold the words, whoever they belong to: for the admin."""
    return SearchEntry.objects.filter(vector=SearchQuery(words, config="simple", search_type="websearch"))


def query_of(q: str, parameter: str = "%(q)s") -> str:
    """SQL of the query that ``q`` asks, which the parameter holds. A constant to the planner, which chooses by it
    between the index of words, the newest first and the threads of the asker.
    """
    asked = f"websearch_to_tsquery('pg_catalog.simple', {parameter})"
    if q[-1:].isalnum():  # a word that may not be typed to its end
        return f"(regexp_replace({asked}::text, '''$', ''':*')::tsquery)"
    return asked


def _marked(snippet: str) -> str:
    return html.escape(snippet).replace(BEGIN, "<mark>").replace(END, "</mark>")


def fill(most: int = 1000) -> Iterator[int]:
    """Take in what was written before there were triggers, in short transactions; yields how many rows each looked at
    (the last one of each table fewer). May be interrupted and run again.
    """
    last_thread: uuid.UUID | None = uuid.UUID(int=0)
    while last_thread is not None:
        last_thread = _one("SELECT chat_search_fill_titles(%(after)s, %(most)s) AS last", after=last_thread, most=most)
        yield most
    last_message: int | None = 0
    while last_message is not None:
        last_message = _one("SELECT chat_search_fill(%(after)s, %(most)s) AS last", after=last_message, most=most)
        yield most


def _one(statement: str, **params: Any) -> Any:
    found = row(statement, **params)
    assert found is not None
    return found["last"]


HITS = f"""
WITH hit AS MATERIALIZED (
    SELECT s.id, s.thread_id, s.message_id, s.vector
      FROM chat_search s
      JOIN chat_threads ON chat_threads.id = s.thread_id
      LEFT JOIN chat_messages m ON m.id = s.message_id
     WHERE s.vector @@ {{query}} AND {VISIBLE_THREAD}
       AND (s.message_id IS NULL OR (m.is_current AND m.deleted_at IS NULL))
     ORDER BY s.id DESC LIMIT %(newest)s
), ranked AS MATERIALIZED (
    SELECT id, thread_id, message_id, ts_rank(vector, {{query}})::float8 AS rank FROM hit
), page AS MATERIALIZED (
    SELECT * FROM ranked
     WHERE %(rank)s::float8 IS NULL OR rank < %(rank)s OR (rank = %(rank)s AND id < %(entry)s)
     ORDER BY rank DESC, id DESC LIMIT %(limit)s
)
SELECT page.id AS entry, page.rank, page.thread_id, t.title, t.archived_at, t.updated_at,
       page.message_id, m.role, m.created_at,
       ts_headline('pg_catalog.simple',
                   translate(left(coalesce(chat_search_text(m.parts), t.title), %(snippet_from)s), %(controls)s, ''),
                   {{query}}, %(headline)s) AS snippet
  FROM page
  JOIN chat_threads t ON t.id = page.thread_id
  LEFT JOIN chat_messages m ON m.id = page.message_id
 ORDER BY page.rank DESC, page.id DESC
"""
