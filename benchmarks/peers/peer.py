"""What every contestant is asked to do, and how the usual one does it: server-sent events of the AI SDK over HTTP."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, ClassVar, LiteralString

import httpx
import psycopg

from benchmarks.client import STAMP, Target
from benchmarks.peers.load import Dialect, Sse
from benchmarks.peers.place import Place
from chat.testing.client import said
from tests.acceptance.server import DemoServer

# Seconds without a token after which a stream is said to hang.
SILENCE = 8.0


class Refused(Exception):
    """An answer that is no stream."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of somebody: sending it again is a retry."""

    text: str
    thread: str = field(default_factory=lambda: uuid.uuid4().hex)
    message: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def body(self) -> dict[str, Any]:
        return said(self.thread, self.text, self.message)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is stored of a conversation: user messages, the tokens of each answer, and what else is said of it."""

    questions: int
    answers: list[list[int]]
    state: str = ""
    settled: bool = True  # nothing more is to be expected of it


class Peer:
    """A server of one kind. Subclasses say how it is started, joined and looked at."""

    name: ClassVar[str]
    title: ClassVar[str]
    how: ClassVar[str]  # for the page: what it is put together from
    keeps: ClassVar[str]  # where it keeps what
    dialect: ClassVar[Dialect] = Sse()
    stamp: ClassVar[re.Pattern[bytes]] = STAMP
    has_cursor: ClassVar[bool] = False

    def __init__(self, place: Place) -> None:
        """Installs it. Raises NotInstalled."""
        self.place = place
        self.runs = place.folder / f"runs-{self.name}"
        self.runs.touch()
        self.server = self.start()

    def start(self) -> DemoServer:
        raise NotImplementedError

    def join(self, sent: Sent, seen: list[bytes] | None) -> Iterator[bytes] | None:
        """The stream of an answer that goes on, as a reader gets it who has ``seen`` these events, or (None) comes to
        it anew as after a reload; None where nothing is to be had. Raises Refused.
        """
        raise NotImplementedError

    def kept(self, sent: Sent) -> Kept | None:
        """What is stored; None where nothing ever is."""
        raise NotImplementedError

    @property
    def token(self) -> str:
        return ""

    @property
    def target(self) -> Target:
        assert self.server.process
        return Target(self.server.port, self.server.process.pid, self.token, self.place.stage.postgres)

    def restart(self) -> None:
        """The same command again on the same port and the same data."""
        process = self.server.process
        assert process
        assert isinstance(process.args, tuple)
        self.server.start(*map(str, process.args))

    def ask(self, sent: Sent, tab: int = 0) -> Iterator[bytes]:
        """Send the message, from one of several tabs; the events of the answer. Closing the iterator hangs up. Raises
        Refused.
        """
        found = self.events("POST", "/api/chat", json=sent.body)
        if found is None:
            raise Refused("204")
        return found

    def runs_of(self, sent: Sent, answers: list[list[int]]) -> int:
        """How often the agent was run for it: what a provider would send a bill for."""
        return self.runs.read_text().splitlines().count(sent.text)

    def events(self, method: str, path: str, **request: Any) -> Iterator[bytes] | None:
        """The events of an answer, None for 204. Raises Refused for any other answer."""
        client = httpx.Client(
            verify=False, timeout=SILENCE, headers={"Authorization": f"Bearer {self.token or 'none'}"}
        )
        response = client.send(client.build_request(method, f"{self.server.url}{path}", **request), stream=True)
        if response.status_code == 204:
            client.close()
            return None
        if response.status_code != 200:
            response.read()
            client.close()
            raise Refused(f"{response.status_code} {response.text[:80]}".strip())
        return _events(client, response)

    def tokens(self, events: list[bytes]) -> list[int]:
        """The tokens in events, as numbers: the times at which they were made."""
        return [int(stamp) for event in events for stamp in self.stamp.findall(event)]

    def whole(self, events: list[bytes]) -> list[int]:
        """The answer as an event of the stream tells it as a whole, for those that do."""
        return []

    def rows(self, statement: LiteralString, name: str) -> list[tuple[Any, ...]]:
        """What a statement finds in this server's database; ``name`` is its ``%(id)s``."""
        with psycopg.connect(self.server.settings["DATABASE_URL"]) as connection:
            return connection.execute(statement, {"id": name}).fetchall()


def told(text: str) -> list[int]:
    """The tokens of a stored answer."""
    return [int(word) for word in re.findall(r"\b\d{6,}(?= )", text)]


def _events(client: httpx.Client, response: httpx.Response) -> Iterator[bytes]:
    rest = b""
    with closing(client), closing(response):
        for piece in response.iter_raw():
            *whole, rest = (rest + piece).split(b"\n\n")
            yield from whole
