"""Carrying arrays over into rows: this project's backfill and command, one INSERT, and a loop with ``bulk_create``."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import django
import psycopg

from benchmarks.history_steps import GOOD, RAW_INSERT, History, Took
from benchmarks.report import say
from benchmarks.stage import PRODUCTION, Stage
from tests.copilot.history_data import shape

BAD = 0.01
BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Backfill:
    """One way to do it, and what it did; ``bad`` is what became of data of which one in a hundred elements is bad."""

    title: str
    took: Took
    messages: int
    bad: str = ""


class Backfills(History):
    """The same arrays, carried over in each way into an empty table."""

    def bulk_create(self) -> Took:
        self.connection.execute("TRUNCATE copilot_chat_messages")
        return self._measured(self._loop)

    def bad_insert(self) -> str:
        self.connection.execute("TRUNCATE raw")
        return self._what_becomes(lambda: self.connection.execute(RAW_INSERT.format(**GOOD)), "raw")

    def bad_reconcile(self) -> str:
        return self._what_becomes(self.first_reconcile, "copilot_chat_messages")

    def bad_bulk_create(self) -> str:
        self.connection.execute("TRUNCATE copilot_chat_messages")
        return self._what_becomes(self._loop, "copilot_chat_messages")

    def bad_backfill(self) -> str:
        return self._what_becomes(self.backfill, "copilot_chat_messages")

    def _loop(self) -> None:
        """As a data migration is usually written: chat by chat, a thousand rows at a time, repeated ids left out."""
        from chat.models import CopilotChat, CopilotMessage

        rows: list[CopilotMessage] = []
        for chat in CopilotChat.objects.iterator(chunk_size=100):
            rows += [self._row(CopilotMessage, chat, place) for place in range(len(chat.messages))]
            while len(rows) >= BATCH:
                CopilotMessage.objects.bulk_create(rows[:BATCH], ignore_conflicts=True)
                del rows[:BATCH]
        CopilotMessage.objects.bulk_create(rows, ignore_conflicts=True)

    def _row(self, model: Any, chat: Any, place: int) -> Any:
        message = chat.messages[place]
        return model(
            chat_id=chat.pk,
            message_id=message["id"],
            seq=place,
            role=message["role"],
            content=message,
            model=chat.model,
            created_at=datetime.fromisoformat(message["timestamp"]),
        )

    def _what_becomes(self, work: Callable[[], object], table: str) -> str:
        try:
            work()
            end = "comes to its end"
        except (psycopg.Error, KeyError, TypeError, ValueError) as problem:
            end = f"fails ({type(problem).__name__})"
        rows = int(self._one(f"SELECT count(*) FROM {table}"))
        return f"{end}; {rows:,} of {self.messages:,} messages are there"


def find(chats: int) -> list[Backfill]:
    """Each way once: on good arrays for the time it takes, on bad ones for what becomes of them."""
    with Stage() as stage:
        # The store functions that are measured run in this process, on the stage's database.
        os.environ.update(PRODUCTION, DATABASE_URL=stage.dsn, DJANGO_SETTINGS_MODULE="chatproject.settings")
        django.setup()
        good = Backfills(stage, shape(chats))
        found = [
            ("one `INSERT … SELECT`", good.raw_insert()),
            ("ours: backfill of the migration", good.backfill()),
            ("ours: `reconcile_messages`", good.first_reconcile()),
            ("a loop with `bulk_create`", good.bulk_create()),
        ]
        for title, took in found:
            say(f"{title}: {took.line()}")
        good.connection.execute("TRUNCATE copilot_chats CASCADE")
        good.connection.execute("DROP TABLE raw")
        bad = Backfills(stage, shape(chats, bad=BAD))
        became = [bad.bad_insert(), bad.bad_backfill(), bad.bad_reconcile(), bad.bad_bulk_create()]
        return [Backfill(title, took, good.messages, words) for (title, took), words in zip(found, became, strict=True)]
