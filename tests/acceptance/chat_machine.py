"""A hypothesis state machine that uses the chat as many clients at once would, over two real servers that it kills.

Whether a rule may run depends only on the rules before it, never on timing, so that an example can be played again;
what depends on timing is looked at in the answers. What must be true is in ``sent`` and ``ledger``.
"""

from __future__ import annotations

import sys
import uuid
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tests.acceptance.clients import SLACK, SLOTS, TEXTS, THREADS, WHICH, someone_sent
from tests.acceptance.ledger import assert_ledger, has_rows, has_turn, is_parked, turn_of, turns_in, unended
from tests.acceptance.rewriting import Rewriting
from tests.acceptance.sent import Following, Sent
from tests.acceptance.wire import Exchange

ON_BUSY = st.sampled_from([None, "reject", "stop", "enqueue"])
# Commits at which a server may die of itself.
COMMITS = ("begin", "append", "finish", "enqueue", "promote", "park", "decide")
POINTS = st.sampled_from([f"{name}:{side}" for name in COMMITS for side in ("before", "after")])


class ChatMachine(Rewriting):
    # -- what clients do

    @rule(thread=THREADS, text=TEXTS, on_busy=ON_BUSY, slot=SLOTS)
    def send(self, thread: int, text: str, on_busy: str | None, slot: int) -> None:
        sent = self._new(self.threads[thread], text)
        live, waiting = unended([sent.thread])
        if on_busy == "stop":
            self._stop_asked(sent.thread)
            sent.anywhere = bool(waiting)  # it is the first to be promoted then, by whoever ends the turn in its way
            may_refuse = bool(waiting)  # what waits may be first
        else:
            sent.anywhere = on_busy == "enqueue"
            may_refuse = on_busy != "enqueue" and bool(live + waiting)
        self._post(sent, slot, on_busy=on_busy, may_refuse=may_refuse)

    @someone_sent
    @rule(which=WHICH, slot=SLOTS)
    def retry(self, which: int, slot: int) -> None:
        """The same id with the same payload: the same turn, from its start, however it stands."""
        sent = self._sent(which)
        self._post(sent, slot, may_refuse=not has_turn(sent) and bool(self._busy(sent.thread)))

    @someone_sent
    @rule(which=WHICH, slot=SLOTS)
    def reuse_an_id_for_something_else(self, which: int, slot: int) -> None:
        sent = self._sent(which)
        if has_turn(sent) and not sent.revises:
            before = turns_in(sent.thread)
            other = sent.body()
            other["messages"][0]["parts"][0]["text"] = "something else"
            answer = self._ask(slot, "POST", "/api/chat", other)
            assert (answer.status, answer.json()["error"]["code"]) == (409, "turn_conflict"), answer.body
            assert turns_in(sent.thread) == before

    @rule(thread=THREADS, text=TEXTS, slots=st.tuples(SLOTS, SLOTS))
    def send_the_same_from_two_tabs(self, thread: int, text: str, slots: tuple[int, int]) -> None:
        sent = self._new(self.threads[thread], text)
        busy = self._busy(sent.thread)
        servers = [self._server(slot) for slot in slots]
        tabs = [self._open(server[0], "POST", "/api/chat", sent.body()) for server in servers]
        for server in servers:
            sent.may_run_on(server)
        taken = [tab.status() for tab in tabs]
        self._note("two tabs:", sent.turn_id, text, servers, taken)
        # Where the turn that was in the way ends between the two, only the second may be let in.
        assert set(taken) <= ({200, 409} if busy else {200}), [tab.answer.body for tab in tabs]
        sent.accepted = 200 in taken
        assert has_turn(sent) == sent.accepted
        self._follow(sent, *zip(tabs, servers, strict=True))

    @rule(thread=THREADS, slots=st.tuples(SLOTS, SLOTS))
    def two_clients_send_at_the_same_instant(self, thread: int, slots: tuple[int, int]) -> None:
        rivals = [self._new(self.threads[thread], "/hang") for _ in slots]
        busy = self._busy(self.threads[thread])
        servers = [self._server(slot) for slot in slots]
        tabs = [
            self._open(server[0], "POST", "/api/chat", sent.body())
            for sent, server in zip(rivals, servers, strict=True)
        ]
        taken = [tab.status() for tab in tabs]
        self._note("rivals:", [sent.turn_id for sent in rivals], servers, taken)
        assert sorted(taken) in ([[200, 409], [409, 409]] if busy else [[200, 409]]), [tab.answer.body for tab in tabs]
        for sent, tab, server in zip(rivals, tabs, servers, strict=True):
            sent.accepted = tab.answer.status == 200
            if sent.accepted:
                sent.may_run_on(server)
            assert has_turn(sent) == sent.accepted
            self._follow(sent, (tab, server))

    @someone_sent
    @rule(which=WHICH, chunks=st.integers(1, 40))
    def read(self, which: int, chunks: int) -> None:
        if reader := self._reader(which):
            reader.read(chunks, 0.03)
            self._note("read up to", reader.seq, "of", reader.sent.turn_id)

    @someone_sent
    @rule(which=WHICH)
    def read_to_the_end(self, which: int) -> None:
        reader = self._reader(which)
        if reader and not self._hangs(reader.sent.thread):
            self._read_to_the_end(reader)

    @someone_sent
    @rule(which=WHICH)
    def disconnect(self, which: int) -> None:
        if reader := self._reader(which):
            reader.hang_up()
            self.readers.remove(reader)
            self._note("hung up on", reader.sent.turn_id)

    @someone_sent
    @rule(which=WHICH, slot=SLOTS, place=st.floats(0, 1), of_thread=st.booleans())
    def resume(self, which: int, slot: int, place: float, of_thread: bool) -> None:
        """From any chunk that was shown, at any server."""
        sent = self._sent(which)
        for reader in self.readers:
            if reader.sent is sent:
                reader.read(100, 0.01)
        sent.pk = sent.pk or turn_of(sent)
        if sent.pk is not None:
            after = round(place * sent.last_seen)
            path = f"/api/chat/{sent.thread}/stream" if of_thread else f"/api/turns/{sent.pk}/stream"
            server = self._server(slot)
            exchange = self._open(server[0], "GET", f"{path}?after={sent.pk}-{after}")
            assert exchange.status() == 200, exchange.answer.body
            self.readers.append(Following(sent, exchange, server, after))
            self._note("resumed", sent.turn_id, "behind", after, "at", server)

    @rule(thread=THREADS, slot=SLOTS)
    def resume_what_is_live(self, thread: int, slot: int) -> None:
        name = self.threads[thread]
        server = self._server(slot)
        _, waiting = unended([name])
        exchange = self._open(server[0], "GET", f"/api/chat/{name}/stream")
        if exchange.status() == 204:
            assert waiting or not self._busy(name) or is_parked(name)
            self._note("nothing live in", name)
        else:
            sent = self._sent_of(exchange)
            self.readers.append(Following(sent, exchange, server))
            self._note("joined", sent.turn_id, "at", server)

    @rule(thread=THREADS, slot=SLOTS)
    def stop(self, thread: int, slot: int) -> None:
        self._stop(self.threads[thread], slot)

    @someone_sent
    @rule(which=WHICH, slot=SLOTS, approved=st.booleans())
    def decide(self, which: int, slot: int, approved: bool) -> None:
        """On whatever the turn asks about, if it does: the first decision stays."""
        sent = self._sent(which)
        sent.pk = sent.pk or turn_of(sent)
        if sent.pk is None:
            return
        server = self._server(slot)
        if sent.text == "/approve":
            sent.may_go_on(server)
        answer = self._decide(sent, server[0], approved).to_the_end(SLACK)
        code = answer.json().get("error", {}).get("code", "taken")
        self._note(f"decision {code}", sent.turn_id, approved, "at", server)
        if answer.status == 200:
            assert sent.verdict in (None, approved), "two outcomes"
            sent.verdict = approved
        else:
            assert code in ("approval_not_found", "already_decided", "turn_ended"), answer.body
            assert code != "already_decided" or sent.verdict is not approved

    @rule(thread=THREADS, slots=st.tuples(SLOTS, SLOTS), verdicts=st.tuples(st.booleans(), st.booleans()))
    def two_decide_at_the_same_instant(self, thread: int, slots: tuple[int, int], verdicts: tuple[bool, bool]) -> None:
        name = self.threads[thread]
        if self._busy(name):
            return
        sent = self._new(name, "/approve")
        self._post(sent, slots[0])
        self._read_to_the_end(self.readers[-1])
        if not is_parked(name):  # its server has died
            return
        servers = [self._server(slot) for slot in slots]
        asked = [self._decide(sent, server[0], one) for server, one in zip(servers, verdicts, strict=True)]
        for server in servers:
            sent.may_go_on(server)
        taken = [one.to_the_end(SLACK).status for one in asked]
        self._note("two decisions:", sent.turn_id, servers, verdicts, taken)
        wanted = [[200, 200]] if verdicts[0] == verdicts[1] else [[200, 409], [409, 200]]
        assert taken in wanted, [one.answer.body for one in asked]
        sent.verdict = verdicts[taken.index(200)]

    def _decide(self, sent: Sent, slot: int, approved: bool) -> Exchange:
        decision = {"tool_call_id": sent.call, "approved": approved}
        return self._open(slot, "POST", f"/api/turns/{sent.pk}/approvals/", {"decisions": [decision]})

    @rule(thread=THREADS, slot=SLOTS, which=st.one_of(st.none(), WHICH), role=st.sampled_from(["user", "assistant"]))
    def legacy_append(self, thread: int, slot: int, which: int | None, role: str) -> None:
        """A client's own write of a message: never a second row of a turn, never another text than the send's."""
        sent = self._sent(which) if which is not None and self.sends else None
        name = sent.thread if sent else self.threads[thread]
        body: dict[str, Any] = {"role": role, "parts": [{"type": "text", "text": "written by a client"}]}
        if sent:
            body |= {"turn_id": sent.turn_id, "token_usage": {"prompt_tokens": 1}}
        known = sent is not None and has_turn(sent)
        waits = sent is not None and sent.turn_id in unended([name])[1]
        if sent and sent.again and role == "user" and (waits or not known):
            return  # its question has another turn's name
        answer = self._ask(slot, "POST", f"/api/threads/{name}/messages/", body)
        self._note("append to", sent.turn_id if sent else name, role, answer.status)
        if role == "assistant" and not known:
            assert answer.status == (404 if sent else 400) or (not sent and answer.status == 404), answer.body
        elif waits and role == "assistant":
            assert answer.status in (404, 200), answer.body
        elif known and not waits:
            assert answer.status == 200, answer.body
        elif answer.status == 404:
            assert not has_rows(name)
        else:
            assert answer.status in (200, 201), answer.body
            self.appended[int(answer.json()["id"])] = body

    @rule(thread=THREADS, slot=SLOTS)
    def look(self, thread: int, slot: int) -> None:
        """A page loads: each message once, in order, and whatever was seen to end is there."""
        name = self.threads[thread]
        there = [sent for sent in self.sends if sent.thread == name and not sent.replaced]
        ended = {sent.turn_id for sent in there if sent.ended and not sent.again}  # that may have come to nothing
        listed = self._ask(slot, "GET", f"/api/threads/{name}/messages/?limit=200")
        state = self._ask(slot, "GET", f"/api/threads/{name}/state/?limit=200")
        assert (listed.status, state.status) in ((200, 200), (404, 404))
        if listed.status == 200:
            for messages in (listed.json()["results"], state.json()["messages"]):
                ids = [int(message["id"]) for message in messages]
                assert ids == sorted(set(ids))
                roles = [(message["turn_id"], message["role"]) for message in messages if message["turn_id"]]
                assert len(roles) == len(set(roles))
                assert {(turn, "assistant") for turn in ended} <= set(roles)
            live = state.json()["turn"]
            assert live is None or live["turn_id"] not in ended

    # -- what befalls servers

    @rule(slot=SLOTS)
    def crash(self, slot: int) -> None:
        if slot in self.cluster.alive:
            self.cluster.kill(slot)
            self._died(slot)

    @rule(slot=SLOTS)
    def restart(self, slot: int) -> None:
        if slot not in self.cluster.alive:
            self._start(slot)

    @rule(thread=THREADS, text=TEXTS, slot=SLOTS)
    def crash_during_a_send(self, thread: int, text: str, slot: int) -> None:
        """The server is gone before it could answer: only a retry tells whether the turn was begun."""
        sent = self._new(self.threads[thread], text)
        server = self._server(slot)
        sent.may_run_on(server)
        sent.accepted = None
        exchange = self._open(server[0], "POST", "/api/chat", sent.body())
        self.cluster.kill(server[0])
        self._died(server[0])
        sent.accepted = {200: True, 409: False}.get(exchange.status())
        self._follow(sent, (exchange, server))

    @rule(slot=SLOTS, point=POINTS)
    def crash_at_a_commit(self, slot: int, point: str) -> None:
        for thread in self.threads:
            if unended([thread])[1]:  # a queue that the server would move on, and die of before it is asked
                self._end_all(thread)
        if slot in self.cluster.alive:
            self.cluster.kill(slot)
            self._died(slot)
        self._start(slot, die_at=point)
        self.threads.append(f"{uuid.uuid4().hex[:12]}-{point}")
        commit = point.partition(":")[0]
        queue = commit in ("enqueue", "promote")
        waits = commit in ("park", "decide")
        asked: list[Exchange] = []
        opened = [first := self._doomed(slot, "/hang" if queue else "/approve" if waits else "/tokens 30 3")]
        if queue:
            first[1].status()
            opened.append(second := self._doomed(slot, "/tokens 3 0", on_busy="enqueue"))
        if commit == "promote":
            second[1].status()
            self._stop_asked(self.threads[-1])
            asked.append(self._open(slot, "POST", f"/api/chat/{self.threads[-1]}/stop"))
        if commit == "decide":
            first[1].to_the_end(SLACK)
            first[0].pk = turn_of(first[0])
            first[0].may_go_on((slot, self.generations[slot]))
            asked.append(self._decide(first[0], slot, approved=True))
        self.cluster.wait(slot)
        self._died(slot)
        for one in asked:
            one.hang_up()
        for sent, exchange in opened:
            exchange.status()
            sent.accepted = has_turn(sent)
            self._follow(sent, (exchange, (slot, self.generations[slot])))
        assert first[0].accepted == (point != "begin:before")
        assert not queue or opened[1][0].accepted == (point != "enqueue:before")

    def _doomed(self, slot: int, text: str, **keys: str) -> tuple[Sent, Exchange]:
        sent = self._new(self.threads[-1], text)
        sent.may_run_on((slot, self.generations[slot]))
        sent.anywhere = bool(keys)
        return sent, self._open(slot, "POST", "/api/chat", sent.body(**keys))

    @invariant()
    def one_turn_at_most_is_live_in_a_thread(self) -> None:
        unended(self.threads)

    def teardown(self) -> None:
        """Everything comes to its end, and everything is checked."""
        for slot in {0, 1} - set(self.cluster.alive):
            self._start(slot)
        for thread in self.threads:
            self._end_all(thread)
        for reader in self.readers:
            self._read_to_the_end(reader)
        for number, sent in enumerate(self.sends):
            if sent.accepted or (sent.accepted is None and has_turn(sent)):
                self._post(sent, number % 2)
                self._read_to_the_end(self.readers[-1])
        assert unended(self.threads) == ([], [])
        assert_ledger(self.threads, self.sends, self.appended)
        for slot in self.cluster.alive:
            self.look(0, slot)
            self.look(1, slot)
        if sys.exc_info()[0] is None:  # else this is the end of an example that has failed
            self.journals.remove(self.journal)
