"""What the rules of ``chat_machine`` are made of: requests, readers and servers, and what the answers must be."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition

from tests.acceptance.cluster import Cluster
from tests.acceptance.ledger import has_rows, has_turn, turn_of, unended
from tests.acceptance.sent import NATURAL_END, Following, Sent
from tests.acceptance.wire import Answer, Exchange, request

THREADS = st.integers(0, 1)
TEXTS = st.sampled_from(sorted(NATURAL_END))
SLOTS = st.integers(0, 1)
WHICH = st.integers(0, 5)

LEASE = 0.8
# Seconds that a recovery may take beyond the lease, and any other answer, on a busy machine.
SLACK = 10.0

someone_sent = precondition(lambda machine: machine.has_sent)


class Clients(RuleBasedStateMachine):
    """Clients of two servers. ``journals`` keeps what happened in examples that failed, ``tally`` how often in all."""

    def __init__(self, cluster: Cluster, token: str, journals: list[list[str]], tally: Counter[str]) -> None:
        super().__init__()
        self.cluster, self.token = cluster, token
        self.threads = [f"{uuid.uuid4().hex[:12]}-{number}" for number in range(2)]
        self.sends: list[Sent] = []
        self.readers: list[Following] = []
        self.appended: dict[int, dict[str, Any]] = {}
        self.generations = [0, 0]
        self.has_sent = False
        self.journal: list[str] = []
        self.journals = journals
        self.journals.append(self.journal)
        self.tally = tally
        self.tally["examples"] += 1

    def _new(self, thread: str, text: str, **revises: str) -> Sent:
        sent = Sent(thread, f"{thread}.{len(self.sends)}", text, **revises)
        self.sends.append(sent)
        self.has_sent = True
        return sent

    def _asked(self, name: str) -> Sent:
        """The send that asked the message of that name."""
        (asked,) = [sent for sent in self.sends if sent.turn_id == name]
        return asked

    def _current(self, name: str) -> Sent:
        """The send that asked the current version of the message of that name: the newest edit of it."""
        questions = [sent for sent in self.sends if not sent.again]
        versions = [sent for sent in questions if self._first(sent.turn_id) == self._first(name)]
        return max(versions, key=lambda sent: turn_of(sent) or 0)

    def _first(self, name: str) -> str:
        """The name of the first version of a message."""
        while edits := self._asked(name).edits:
            name = edits
        return name

    def _sent(self, which: int) -> Sent:
        return self.sends[-1 - which % len(self.sends)]

    def _reader(self, which: int) -> Following | None:
        return self.readers[-1 - which % len(self.readers)] if self.readers else None

    def _server(self, slot: int) -> tuple[int, int]:
        """The server of a slot, or another where that one is down; started where none is up."""
        if not self.cluster.alive:
            self._start(slot)
        if slot not in self.cluster.alive:
            slot = 1 - slot
        return slot, self.generations[slot]

    def _start(self, slot: int, die_at: str = "") -> None:
        self.generations[slot] += 1
        self.cluster.start(slot, die_at)
        self._note("started", slot, die_at)

    def _died(self, slot: int) -> None:
        for sent in self.sends:
            sent.lost((slot, self.generations[slot]))
        self._note("died", slot)

    def _open(self, slot: int, method: str, path: str, body: Any = None) -> Exchange:
        return Exchange(self.cluster.ports[slot], request(method, path, self.token, body))

    def _ask(self, slot: int, method: str, path: str, body: Any = None) -> Answer:
        return self._open(self._server(slot)[0], method, path, body).to_the_end(SLACK)

    def _post(self, sent: Sent, slot: int, *, may_refuse: bool = False, **keys: Any) -> None:
        server = self._server(slot)
        if sent.again and not has_turn(sent):
            sent.answers = self._current(sent.again)
            sent.asks(sent.answers.text)
        if sent.accepted is not True:
            sent.may_run_on(server)
        unasked = sent.revises and sent.revises in unended([sent.thread])[1]  # what waits in a queue is no message yet
        exchange = self._open(server[0], "POST", "/api/chat", sent.body(**{k: v for k, v in keys.items() if v}))
        status = exchange.status(SLACK)
        verb = "edit" if sent.edits else "regenerate" if sent.again else "send"
        self._note(f"{verb} {status}", sent.turn_id, sent.text, keys, "to", server)
        if status == 409 and may_refuse:
            refused = exchange.to_the_end().json()["error"]
            assert (refused["code"], refused["cursor"]) == ("thread_busy", f"{refused['turn']}-0")
            assert refused["turn_id"] in {other.turn_id for other in self.sends if other.thread == sent.thread}
            assert not has_turn(sent)
            sent.accepted = False
        elif status == 404 and sent.revises and (unasked or self._asked(sent.revises).replaced):
            assert exchange.to_the_end().json()["error"]["code"] == "message_not_found"
            assert not has_turn(sent)
            sent.accepted = False
        else:
            assert status == 200, exchange.answer.body
            if sent.revises and not sent.accepted:
                for other in self.sends:
                    other.replaced |= other.thread == sent.thread and other is not sent
            sent.accepted = True
            assert has_turn(sent)
        self._follow(sent, (exchange, server))

    def _follow(self, sent: Sent, *opened: tuple[Exchange, tuple[int, int]]) -> None:
        for exchange, server in opened:
            if exchange.answer.status == 200:
                self.readers.append(Following(sent, exchange, server))
            else:
                exchange.hang_up()

    def _stop(self, thread: str, slot: int) -> None:
        live, waiting = self._stop_asked(thread)
        answer = self._ask(slot, "POST", f"/api/chat/{thread}/stop")
        self._note("stop", thread, live, answer.status)
        if answer.status == 404:
            assert not has_rows(thread)
        elif answer.status == 200 and not waiting:
            assert unended([thread]) == ([], []), answer.body

    def _stop_asked(self, thread: str) -> tuple[list[str], list[str]]:
        """Whatever is live in a thread, or will be when the stop gets there. Returns what has not ended."""
        live, waiting = unended([thread])
        for sent in self.sends:
            if sent.turn_id in live + waiting:
                sent.was_asked_to_stop()
        return live, waiting

    def _busy(self, thread: str) -> list[str]:
        live, waiting = unended([thread])
        return live + waiting

    def _hangs(self, thread: str) -> bool:
        """Whether somebody must stop a turn before all of the thread's come to their end."""
        busy = self._busy(thread)
        return any(sent.text in ("/hang", "/approve") for sent in self.sends if sent.turn_id in busy)

    def _end_all(self, thread: str) -> None:
        deadline = time.monotonic() + LEASE + SLACK
        self._stop(thread, len(thread) % 2)
        while self._busy(thread):
            assert time.monotonic() < deadline, f"turns that do not end: {unended([thread])}"
            time.sleep(0.02)
            if self._hangs(thread):
                self._stop(thread, len(thread) % 2)

    def _read_to_the_end(self, reader: Following) -> None:
        assert reader.read_on(LEASE + SLACK), f"no end of {reader.sent.turn_id}, behind {reader.seq}"
        slot, generation = reader.server
        gone = slot not in self.cluster.alive or generation != self.generations[slot]
        assert reader.done or gone, f"cut off by a server that lives: {reader.sent}"
        self._note("read to the end of", reader.sent.turn_id, reader.seq)

    def _sent_of(self, exchange: Exchange) -> Sent:
        """Whose stream this is, as its first chunk says."""
        while b"\n\n" not in exchange.answer.body:
            assert exchange.receive(SLACK), exchange.answer.body
        _, _, told = bytes(exchange.answer.body).partition(b'"turn_id":"')
        (sent,) = [sent for sent in self.sends if sent.turn_id == told.partition(b'"')[0].decode()]
        return sent

    def _note(self, what: str, *details: object) -> None:
        self.tally[what] += 1
        self.journal.append(" ".join([what, *map(str, details)]))
