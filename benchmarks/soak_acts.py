"""What people do in a soak, over several servers that are killed under them, and what the answers must be.

A server that was killed may leave a request without an answer, or a stream without its end. Everything else that is
not as documented is a fault, and so are two readers of one turn that got different bytes.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from chat.protocol import sse
from chat.testing.client import said
from tests.acceptance.wire import frames

TEXTS = ("/tokens 60 10", "/tokens 200 5", "/tokens 5 0", "/think", "/tool", "/fail 3", "How are you?")
ENDLESS = ("/hang", "/approve 2")  # until somebody acts: nobody asks for another answer to these
THREADS = 3  # that one visitor keeps; the oldest goes when there is one more
PATIENCE = 90.0  # seconds for a turn of a dead process to be ended by another, and for all else
FILE = ("notes.txt", b"what was said\n" * 200, "text/plain")


class Killed(Exception):
    """The server was killed before it had answered."""


@dataclass
class Place:
    """The servers: their addresses, whether each one is up, and how often it was started."""

    urls: list[str]
    token: str
    up: list[bool]
    starts: list[int]
    acts: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._made: list[httpx.AsyncClient] = []
        self.clients = [self._client(url) for url in self.urls]

    def _client(self, url: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.token}"}
        # The server closes a connection that was idle for five seconds: one that is asked over in that moment breaks.
        limits = httpx.Limits(keepalive_expiry=2)
        client = httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE, verify=False, limits=limits)
        self._made.append(client)
        return client

    def started(self, slot: int) -> None:
        """A server is up again: nobody asks it over a connection to the one before."""
        self.clients[slot] = self._client(self.urls[slot])
        self.up[slot] = True

    def some(self) -> int:
        return random.choice([slot for slot, up in enumerate(self.up) if up])

    async def close(self) -> None:
        for client in self._made:
            await client.aclose()


@dataclass
class Heard:
    """A stream as far as it was heard."""

    status: int
    body: bytes = b""

    @property
    def whole(self) -> bool:
        return self.body.endswith(sse.DONE)

    @property
    def events(self) -> list[tuple[str, bytes]]:
        return [event for event in frames(self.body) if event[0]]

    @property
    def cursor(self) -> str:
        """Behind the last whole event; empty where there was none."""
        events = self.events
        return events[-1][0] if events else ""

    @property
    def turn(self) -> int:
        return int(self.cursor.partition("-")[0])

    def chunks(self) -> list[Any]:
        return [orjson.loads(frame.partition(b"data: ")[2]) for _, frame in self.events]


class Visitor:
    """One person, who does one thing after the other."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.threads: list[str] = []
        self.chats: list[str] = []
        self.asked: dict[str, str] = {}  # by thread, the id of its last question

    async def act(self) -> None:
        """Do something, and look at what comes of it."""
        acts: dict[Callable[[], Awaitable[None]], int] = {
            self.say: 8,
            self.say_twice: 3,
            self.join: 4,
            self.stop: 3,
            self.say_again: 3,
            self.edit: 2,
            self.approve: 3,
            self.attach: 2,
            self.look: 6,
            self.copilot: 6,
        }
        (chosen,) = random.choices(list(acts), list(acts.values()))
        name = chosen.__name__
        self.place.acts[name] += 1
        try:
            await chosen()
        except Killed:
            self.place.answers["given up, since servers were killed"] += 1
        except Exception as problem:  # a soak goes on; what was wrong is told at its end
            self.place.faults.append(f"{name}: {type(problem).__name__} {problem}"[:500])

    # -- in threads

    async def say(self) -> None:
        await self.answered(self.question(await self.thread(), random.choice(TEXTS)), leaves=random.random() < 0.3)

    async def say_twice(self) -> None:
        """Two tabs, or a retry: one turn, the same bytes."""
        body = self.question(await self.thread(), random.choice(TEXTS))
        one, two = await asyncio.gather(self.answered(body), self.answered(body))
        assert one == two, "two streams for one send"

    async def join(self) -> None:
        """Others read along, over SSE and over a socket, in whatever process."""
        thread = await self.thread()
        heard = await self.heard("/api/chat", self.question(thread, "/tokens 100 20"), leaves=True)
        one, other, socket = await asyncio.gather(
            self.replayed(heard), self.replayed(heard), self._over_a_socket(thread, heard.turn)
        )
        assert one == other, "another reader got something else"
        assert socket in ([], one.chunks()), "a socket was told something else"

    async def stop(self) -> None:
        thread = await self.thread()
        reading = asyncio.create_task(self.answered(self.question(thread, "/hang")))
        await asyncio.sleep(random.uniform(0.1, 1))
        while not reading.done():
            await self.ask("POST", f"/api/chat/{thread}/stop", {200, 202, 404})
            await asyncio.wait([reading], timeout=1)
        await reading

    async def say_again(self) -> None:
        """Another answer to the last question."""
        if thread := self._asked():
            body = {"id": thread, "trigger": "regenerate-message", "turn_id": uuid.uuid4().hex, "messages": []}
            await self.answered(body)

    async def edit(self) -> None:
        if thread := self._asked():
            # As the AI SDK sends it: under the id of the message that it takes the place of. Twice the same is a retry.
            name = self.asked[thread]
            body = self.question(thread, f"/tokens 30 5 {uuid.uuid4().hex}", name)
            await self.answered({**body, "messageId": name})

    async def approve(self) -> None:
        body = self.question(await self.thread(), "/approve 2")
        heard = await self.heard("/api/chat", body)
        turn = (await self.ask("GET", f"/api/turns/{heard.turn}", {200})).json()
        calls = [one["tool_call_id"] for one in turn["approvals"]]
        decisions = [{"tool_call_id": call, "approved": random.random() < 0.7} for call in calls]
        if decisions:
            # 409: the server died behind its commit, and the turn that went on there has ended.
            await self.ask("POST", f"/api/turns/{heard.turn}/approvals/", {200, 409}, json={"decisions": decisions})
        await self.replayed(heard)

    async def attach(self) -> None:
        kept = (await self.ask("POST", "/api/attachments/", {201}, files={"file": FILE})).json()
        body = self.question(await self.thread(), "/tokens 5 5")
        body["messages"][0]["parts"].append(kept["part"])
        await self.answered(body)
        assert (await self.ask("GET", f"/api/attachments/{kept['id']}/", {200})).content == FILE[1]

    async def look(self) -> None:
        await self.ask("GET", "/api/threads/", {200})
        await self.ask("GET", "/api/search/?q=tokens", {200})
        for thread in self.threads[-2:]:
            messages = (await self.ask("GET", f"/api/threads/{thread}/messages/", {200})).json()["results"]
            ids = [int(message["id"]) for message in messages]
            assert ids == sorted(set(ids)), "messages out of order, or twice"
            await self.ask("GET", f"/api/threads/{thread}/state/", {200})

    # -- in copilot chats

    async def copilot(self) -> None:
        if len(self.chats) >= THREADS or (self.chats and random.random() < 0.1):
            await self.ask("DELETE", f"/api/copilot/chats/{self.chats.pop(0)}/", {204, 404})
        if not self.chats or random.random() < 0.2:
            self.chats.append((await self.ask("POST", "/api/copilot/chats/", {201}, json={})).json()["id"])
        chat, name = self.chats[-1], uuid.uuid4().hex
        body = {"message": random.choice(TEXTS), "chatId": chat, "userMessageId": name}
        await self.answered(body, "/api/copilot/chat", leaves=random.random() < 0.3)
        if random.random() < 0.2:
            fork = {"upToMessageId": name}
            self.chats.append(
                (await self.ask("POST", f"/api/copilot/chats/{chat}/fork/", {201}, json=fork)).json()["id"]
            )

    # -- what these are made of

    async def thread(self) -> str:
        """One to speak in, old or new."""
        if len(self.threads) > THREADS:
            gone = self.threads.pop(0)
            self.asked.pop(gone, None)
            await self.ask("DELETE", f"/api/threads/{gone}/", {204, 404})
        if not self.threads or random.random() < 0.35:
            return uuid.uuid4().hex
        return random.choice(self.threads)

    def _asked(self) -> str:
        return random.choice(list(self.asked)) if self.asked else ""

    def question(self, thread: str, text: str, name: str = "") -> dict[str, Any]:
        name = name or uuid.uuid4().hex
        if text in ENDLESS:
            self.asked.pop(thread, None)
        else:
            self.asked[thread] = name
        if thread not in self.threads:
            self.threads.append(thread)
        return said(thread, text, name)

    async def answered(self, body: Any, path: str = "/api/chat", *, leaves: bool = False) -> bytes:
        """Send, and hear the turn to its end, then once more from its start; returns its bytes."""
        heard = await self.heard(path, body, leaves=leaves)
        return (await self.replayed(heard)).body

    async def heard(self, path: str, body: Any, *, leaves: bool = False) -> Heard:
        """A send until there is a turn: again at another server as long as its server was killed. ``leaves`` hangs up
        in mid-answer.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            heard = await self._stream("POST", path, body, leaves=leaves)
            if heard.cursor:
                return heard
            assert heard.status in (0, 200), f"{heard.status} for {path}: {heard.body[:200]!r}"
        raise Killed

    async def replayed(self, heard: Heard) -> Heard:
        """All of the turn, read from its start at some server; it must begin with what was heard of it."""
        deadline = time.monotonic() + PATIENCE
        path, body, cursor = f"/api/turns/{heard.turn}/stream", b"", f"{heard.turn}-0"
        while time.monotonic() < deadline:
            more = await self._stream("GET", f"{path}?after={cursor}")
            assert more.status in (0, 200), f"{more.status} for a turn's stream: {more.body[:200]!r}"
            body += b"".join(frame for _, frame in more.events)
            cursor = more.cursor or cursor
            if more.whole:
                first = b"".join(frame for _, frame in heard.events)
                assert body.startswith(first), f"turn {heard.turn} was shown otherwise before"
                return Heard(200, body + sse.DONE)
        raise Killed

    async def _stream(self, method: str, path: str, body: Any = None, *, leaves: bool = False) -> Heard:
        place = self.place
        slot = place.some()
        start, heard = place.starts[slot], Heard(0)
        try:
            async with place.clients[slot].stream(method, path, json=body) as answer:
                heard.status = answer.status_code
                async for piece in answer.aiter_raw():
                    heard.body += piece
                    if leaves and heard.cursor and random.random() < 0.1:
                        break
        except httpx.TransportError as problem:
            await self._excused(slot, start, problem)
        self._count(f"{method} stream", heard.status)
        # What was cut off within an event ends with the last whole one.
        heard.body = heard.body[: heard.body.rfind(b"\n\n") + 2] if heard.status == 200 else heard.body
        return heard

    async def ask(self, method: str, path: str, expected: set[int], **request: Any) -> httpx.Response:
        """Ask some server, and another if that one is killed meanwhile. Raises AssertionError, Killed."""
        place = self.place
        for _ in range(5):
            slot = place.some()
            start = place.starts[slot]
            try:
                answer = await place.clients[slot].request(method, path, **request)
            except httpx.TransportError as problem:
                await self._excused(slot, start, problem)
                continue
            self._count(method, answer.status_code)
            assert answer.status_code in expected, f"{answer.status_code} for {method} {path}: {answer.text[:200]}"
            return answer
        raise Killed

    async def _excused(self, slot: int, start: int, problem: Exception) -> None:
        """A connection that broke: right if its server was killed, else a fault."""
        self._count("cut off", 0)
        await asyncio.sleep(0.2)  # who kills a server tells it at once
        place = self.place
        assert not place.up[slot] or place.starts[slot] != start, f"cut off by a server that lives: {problem!r}"

    def _count(self, what: str, status: int) -> None:
        self.place.answers[f"{what} {status}" if status else what] += 1

    async def _over_a_socket(self, thread: str, turn: int) -> list[Any]:
        """The turn's chunks as a socket is told them; none where its server was killed."""
        place = self.place
        slot = place.some()
        start = place.starts[slot]
        url = place.urls[slot].replace("http", "ws", 1) + f"/ws/threads/{thread}/?after={turn}-0"
        chunks = []
        try:
            async with (
                asyncio.timeout(PATIENCE),
                connect(url, additional_headers={"Authorization": f"Bearer {place.token}"}) as socket,
            ):
                async for frame in socket:
                    told = orjson.loads(frame)
                    if "chunk" in told and told["cursor"].startswith(f"{turn}-"):
                        chunks.append(told["chunk"])
                    elif "turn" in told and told["turn"]["turn"] == turn and told["turn"]["finished_at"]:
                        self._count("socket", 0)
                        return chunks
                raise ConnectionError("closed before the turn's end")
        except (OSError, WebSocketException) as problem:
            await self._excused(slot, start, problem)
        return []
