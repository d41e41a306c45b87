"""This project, and the bare view that stores nothing."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.peers.peer import Kept, Peer, Sent, told
from benchmarks.peers.place import uvicorn
from benchmarks.stage import PRODUCTION
from tests.acceptance.server import DemoServer

CURSOR = re.compile(rb"^id: (\S+)", re.MULTILINE)
QUESTIONS = """
SELECT count(*) FROM chat_messages m JOIN chat_threads t ON t.id = m.thread_id
 WHERE t.client_id = %(id)s AND m.role = 'user'
"""
ANSWERS = """
SELECT m.parts::text FROM chat_messages m JOIN chat_threads t ON t.id = m.thread_id
 WHERE t.client_id = %(id)s AND m.role = 'assistant' ORDER BY m.id
"""
TURNS = """
SELECT u.status, (SELECT count(*) FROM token_usage g WHERE g.turn_id = u.id)
  FROM chat_turns u JOIN chat_threads t ON t.id = u.thread_id WHERE t.client_id = %(id)s ORDER BY u.id
"""


class Ours(Peer):
    name = "ours"
    title = "this project"
    how = "uvicorn, as `make run` starts it, with its default settings (durability `sync`)"
    keeps = "PostgreSQL"
    has_cursor = True

    def start(self) -> DemoServer:
        settings = {
            **PRODUCTION,
            "CHAT_AGENT": "benchmarks.peers.servers.counted.agent",
            "CHAT_LEASE_SECONDS": self.place.lease,
            "RUNS": str(self.runs),
        }
        database = self.place.database("postgres")
        return self.place.serve(
            *uvicorn(sys.executable, "chatproject.asgi:application", "--lifespan", "on"), **settings, **database
        )

    @property
    def token(self) -> str:
        return self.place.stage.token

    def join(self, sent: Sent, seen: list[bytes] | None) -> Iterator[bytes] | None:
        asked: dict[str, Any] = {}
        if seen is not None:
            asked = {"params": {"after": CURSOR.findall(b"\n".join(seen))[-1].decode()}}
        return self.events("GET", f"/api/chat/{sent.thread}/stream", **asked)

    def kept(self, sent: Sent) -> Kept:
        turns = self.rows(TURNS, sent.thread)
        states = ", ".join(f"turn {status}, {usages} usage row{'s' * (usages != 1)}" for status, usages in turns)
        return Kept(
            int(self.rows(QUESTIONS, sent.thread)[0][0]),
            [told(parts) for (parts,) in self.rows(ANSWERS, sent.thread)],
            states,
            all(status not in ("streaming", "queued") for status, _ in turns),
        )


class Bare(Peer):
    name = "bare"
    title = "bare Django view"
    how = "`benchmarks/bare.py`: a `StreamingHttpResponse` around the agent, no middleware, no database; uvicorn"
    keeps = "nothing"

    def start(self) -> DemoServer:
        return self.place.serve(*uvicorn(sys.executable, "benchmarks.bare:application", "--lifespan", "off"))

    def join(self, sent: Sent, seen: list[bytes] | None) -> Iterator[bytes] | None:
        return None

    def kept(self, sent: Sent) -> None:
        return None

    def runs_of(self, sent: Sent, answers: list[list[int]]) -> int:
        """One for each answer: it knows no other way, and keeps no account."""
        return len({answer[0] for answer in answers if answer})
