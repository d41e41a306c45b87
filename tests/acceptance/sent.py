"""What a client knows of one send and of the streams it has read, and what must therefore be true."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from chat.testing.client import said
from tests.acceptance.wire import Exchange, frames

# What the agent is asked, and how the turn ends where nobody interferes.
NATURAL_END = {
    "/tokens 3 0": "completed",
    "/tokens 30 3": "completed",
    "/tokens 200 4": "completed",
    "/think": "completed",
    "/tool": "completed",
    "/fail 0": "failed",
    "/fail 3": "failed",
    "/raise": "failed",
    "/hang": None,
    "/approve": None,
}


@dataclass
class Sent:
    """A send: named by its client, perhaps accepted by a server, perhaps ended."""

    thread: str
    turn_id: str
    text: str
    # The message that this one takes the place of, or gives another answer to: the name of the send that asked it.
    edits: str = ""
    again: str = ""
    # Of another answer: which version of that message it answers.
    answers: Sent | None = None
    # True: a server said yes. False: one said no, or none was asked. None: the server died before it could say.
    accepted: bool | None = False
    pk: int | None = None
    # Endings that would be right: its own, that of a stop somebody asked for, that of a crash.
    endings: set[str] = field(default_factory=set)
    # The servers (slot, generation) that may run it.
    servers: set[tuple[int, int]] = field(default_factory=set)
    # Or any server: it waits in a queue, and whoever ends the turn before it runs it.
    anywhere: bool = False
    ended: bool = False
    # Whether an edit or another answer may have taken its place, or that of something before it.
    replaced: bool = False
    # Whether the call that it asks about was approved, as a server has said.
    verdict: bool | None = None
    # By number, every frame that any reader was sent.
    seen: dict[int, bytes] = field(default_factory=dict)
    length: int | None = None

    def __post_init__(self) -> None:
        self.asks(self.text)

    def asks(self, text: str) -> None:
        """What the agent is asked, and so how the turn may end."""
        natural = NATURAL_END[text]
        self.text, self.endings = text, {natural} if natural else set()

    @property
    def message(self) -> str:
        """The name of the message that its turn answers."""
        return self.again or self.turn_id

    @property
    def revises(self) -> str:
        return self.edits or self.again

    @property
    def last_seen(self) -> int:
        return max(self.seen, default=0)

    def body(self, **keys: Any) -> dict[str, Any]:
        if self.revises:
            keys |= {"messageId": self.revises, "turn_id": self.turn_id}
        if self.again:
            keys |= {"messages": [], "trigger": "regenerate-message"}
        return said(self.thread, self.text, self.turn_id) | keys

    def may_run_on(self, server: tuple[int, int]) -> None:
        if not self.ended:
            self.servers.add(server)

    def lost(self, server: tuple[int, int]) -> None:
        """A server died that may have run this turn."""
        if (self.anywhere or server in self.servers) and not self.ended:
            self.endings.add("interrupted")

    @property
    def call(self) -> str:
        """The call that ``/approve`` asks about."""
        return f"mail-1-{self.turn_id}"

    def may_go_on(self, server: tuple[int, int]) -> None:
        if not self.ended:
            self.endings.add("completed")
            self.servers.add(server)

    def was_asked_to_stop(self) -> None:
        if not self.ended:
            self.endings.add("stopped")

    def saw(self, cursor: str, frame: bytes) -> int:
        """A reader was sent a chunk; returns its number. Raises AssertionError where another reader saw another."""
        pk, seq = (int(number) for number in cursor.split("-"))
        assert self.pk in (None, pk), f"two turns for one send: {self.pk} and {pk}"
        self.pk = pk
        assert self.seen.setdefault(seq, frame) == frame, f"{cursor} was {self.seen[seq]!r} and is {frame!r}"
        return seq


class Following:
    """A reader of a send's stream on one server, from behind chunk ``after`` on."""

    def __init__(self, sent: Sent, exchange: Exchange, server: tuple[int, int], after: int = 0) -> None:
        self.sent = sent
        self.exchange = exchange
        self.server = server
        self.seq = after
        self.done = False
        self._taken = 0

    @property
    def over(self) -> bool:
        return self.exchange.over

    def read(self, chunks: int, seconds: float) -> None:
        """Read until so many more chunks have come, or nothing does any more."""
        self._take()
        enough = self.seq + chunks
        while self.seq < enough and self.exchange.receive(seconds):
            self._take()

    def read_on(self, seconds: float) -> bool:
        """Read to the end, an orderly one or a dead server's; False where none comes in time."""
        self._take()
        deadline = time.monotonic() + seconds
        while not self.over and (left := deadline - time.monotonic()) > 0:
            self.exchange.receive(left)
            self._take()
        return self.over

    def hang_up(self) -> None:
        self.exchange.hang_up()

    def _take(self) -> None:
        body = self.exchange.answer.body
        whole = body.rfind(b"\n\n") + 2
        if whole > self._taken + 1:
            for cursor, frame in frames(body[self._taken : whole]):
                if cursor:
                    seq = self.sent.saw(cursor, frame)
                    assert seq == self.seq + 1, f"{cursor} follows {self.seq}"
                    self.seq = seq
                else:
                    self._ended()
            self._taken = whole
        assert self.done or not self.exchange.answer.whole, "a stream that ended without [DONE]"

    def _ended(self) -> None:
        self.done = True
        if b'"status":"awaiting_approval"' in self.sent.seen.get(self.seq, b""):  # a leg has, not the turn
            return
        self.sent.ended = True
        assert self.sent.length in (None, self.seq), f"the turn had {self.sent.length} chunks and now {self.seq}"
        self.sent.length = self.seq
