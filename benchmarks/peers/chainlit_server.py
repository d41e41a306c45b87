"""Chainlit with its own PostgreSQL data layer, asked over its own socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from benchmarks.peers import install, sockets
from benchmarks.peers.peer import SILENCE, Kept, Peer, Sent, told
from tests.acceptance.server import ROOT, DemoServer

APPLICATION = Path(__file__).parent / "servers/chainlit_chat.py"
# What the statements of its data layer want to find: Chainlit's own migrations are in a repository, not in the package.
TABLES = """
CREATE TABLE "User" (
    id text PRIMARY KEY, identifier text UNIQUE, metadata jsonb, "createdAt" timestamp, "updatedAt" timestamp
);
CREATE TABLE "Thread" (
    id text PRIMARY KEY, name text, "userId" text REFERENCES "User", tags text[], metadata jsonb DEFAULT '{}',
    "createdAt" timestamp DEFAULT now(), "updatedAt" timestamp DEFAULT now(), "deletedAt" timestamp
);
CREATE TABLE "Step" (
    id text PRIMARY KEY, "threadId" text REFERENCES "Thread" ON DELETE CASCADE, "parentId" text, type text, name text,
    input text, output text, metadata jsonb, "showInput" text, "isError" boolean, "startTime" timestamp,
    "endTime" timestamp, "createdAt" timestamp DEFAULT now()
);
CREATE INDEX ON "Step" ("threadId", "startTime");
CREATE TABLE "Element" (
    id text PRIMARY KEY, "threadId" text, "stepId" text, metadata jsonb, mime text, name text, "objectKey" text,
    url text, "chainlitKey" text, display text, size text, language text, page int, props jsonb
);
CREATE TABLE "Feedback" (id text PRIMARY KEY, "stepId" text, name text, value float, comment text);
"""
THREAD = 'SELECT "threadId" FROM "Step" WHERE id = %(id)s'
# A message of the assistant is a step of a run, which is a step of the user's message.
STEPS = """
SELECT q.type, NULL FROM "Step" q WHERE q.id = %(id)s AND q.type = 'user_message' UNION ALL
SELECT a.type, a.output FROM "Step" a JOIN "Step" r ON r.id = a."parentId"
 WHERE r."parentId" = %(id)s AND a.type = 'assistant_message'
"""


class ChainlitServer(Peer):
    name = "chainlit"
    title = "Chainlit"
    how = (
        "`servers/chainlit_chat.py`: Chainlit 2.12.0 with its data layer for PostgreSQL, a login and `on_chat_resume`; "
        "the answer streamed into a message that is sent at its end. Asked over its own socket (Socket.IO), as its "
        "page does: a reload is a new session that names the thread, a lost connection comes back with its session"
    )
    keeps = "PostgreSQL (steps), sessions in its memory"
    stamp = sockets.STAMP
    dialect = sockets.Socket()
    has_cursor = True

    def start(self) -> DemoServer:
        interpreter = install.python("chainlit", "chainlit==2.12.0", "asyncpg>=0.30")
        folder = self.place.folder / "chainlit"
        folder.mkdir()
        database = self.place.database()
        with psycopg.connect(database["DATABASE_URL"]) as connection:
            connection.execute(TABLES)
        server = self.place.serve(
            *(interpreter, "-m", "chainlit", "run", str(APPLICATION), "--headless", "--host", "127.0.0.1"),
            *("--port", "{port}"),
            CHAINLIT_APP_ROOT=str(folder),
            CHAINLIT_AUTH_SECRET="a secret of this run, and of no other",
            PYTHONPATH=str(ROOT),
            RUNS=str(self.runs),
            **database,
        )
        login = httpx.post(f"{server.url}/login", data={"username": "reader", "password": "reader"}, verify=False)
        self._cookie = "; ".join(f"{name}={value}" for name, value in login.cookies.items())
        return server

    @property
    def token(self) -> str:
        return self._cookie

    def ask(self, sent: Sent, tab: int = 0) -> Iterator[bytes]:
        return self._heard(f"{sent.thread}-{tab}", "", sockets.message(str(UUID(sent.message)), sent.text))

    def join(self, sent: Sent, seen: list[bytes] | None) -> Iterator[bytes] | None:
        if seen is not None:
            return self._heard(f"{sent.thread}-0", "")
        found = self.rows(THREAD, str(UUID(sent.message)))
        return self._heard(uuid4().hex, found[0][0] if found else "")

    def kept(self, sent: Sent) -> Kept:
        steps = self.rows(STEPS, str(UUID(sent.message)))
        kinds = [kind for kind, _ in steps]
        answers = [told(output or "") for kind, output in steps if kind == "assistant_message"]
        return Kept(kinds.count("user_message"), answers, "steps have no state")

    def whole(self, events: list[bytes]) -> list[int]:
        messages = [event for event in events if event.startswith(b'42["new_message"')]
        return told(messages[-1].decode()) if messages else []

    def _heard(self, session: str, thread: str, *emit: list[Any]) -> Iterator[bytes]:
        """The events of a session, from the moment it was made or found again, to the end of an answer."""
        socket = connect(
            f"ws://127.0.0.1:{self.server.port}{sockets.PATH}",
            additional_headers={"Cookie": self.token},
            compression=None,
            open_timeout=SILENCE,
        )
        waiting = list(sockets.opening(session, thread, *emit))
        with closing(socket):
            try:
                while True:
                    event = str(socket.recv(timeout=SILENCE)).encode()
                    if event == sockets.PING:
                        socket.send(sockets.PONG)
                    if waiting and event.startswith(waiting[0].after):
                        socket.send(waiting.pop(0).words)
                    yield event
                    if event.startswith(sockets.END):
                        return
            except TimeoutError as silent:
                raise httpx.ReadTimeout("nothing came") from silent
            except ConnectionClosed as closed:
                raise httpx.ReadError("the socket was closed") from closed
