"""The database and the servers of one case of the kill points, what is asked of them, and what must hold at the end."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import Any

import httpx

from chat.testing.client import said
from chat.testing.invariants import ENDED, EndedTurn, assert_database_is_sound, rows_of
from chat.testing.readers import Reader
from chat.testing.servers import eventually, start_all
from tests.acceptance.database import Database
from tests.acceptance.preloaded import Nursery, Preloaded

LEASE = 2.0
# What is sent, by the name of its turn and in this order: three turns, two of which end by themselves after half a
# second; and turns to queue, of which none does before it is told to.
ASKED = {"talk": "/tokens 60 8", "tool": "/tool", "hung": "/hang"}
NEXT = "/tokens 60 8"
TO_ENQUEUE = {**ASKED, "next": NEXT}
TO_PROMOTE = {"aside": "/hang", "hung": "/hang", "next": NEXT}
TO_SWEEP = {"hung": "/hang", "next": NEXT}
# What waits for another turn, and for which; any other turn has a thread of its name.
BEHIND = {"next": "hung"}
NOT_ENDED = f"SELECT turn_id FROM chat_turns WHERE status NOT IN {ENDED}"


class World:
    def __init__(
        self, database: Database, nursery: Nursery, stack: ExitStack, asked: dict[str, str], *, copilot: bool = False
    ) -> None:
        self.database, self.asked, self._nursery, self._stack = database, asked, nursery, stack
        self.copilot = copilot  # every message makes a copilot chat, not a thread

    def server(self, fault: str = "", lease: float = LEASE) -> Preloaded:
        server = Preloaded(self._nursery, self.database.url, fault, CHAT_LEASE_SECONDS=lease)
        self._stack.callback(server.stop)
        return server

    def started(self) -> Preloaded:
        server = self.server()
        start_all(server)
        return server

    def client(self, server: Preloaded) -> httpx.Client:
        return self._stack.enter_context(closing(server.client(self.database.token)))

    def send(self, client: httpx.Client, turn: str) -> Reader:
        if self.copilot:
            sent = {"message": self.asked[turn], "userMessageId": f"{turn}-turn", "createNewChat": True}
            return Reader(client, "POST", "/api/copilot/chat", json=sent)
        return Reader(client, "POST", "/api/chat", json=body(turn, self.asked[turn]))

    def send_all(self, server: Preloaded) -> dict[str, Reader]:
        """Send the messages, each when the one before has begun or waits, and read their streams."""
        client, readers = self.client(server), {}
        for turn in self.asked:
            reader = readers[turn] = self.send(client, turn)
            begun = (lambda one=reader: one.status == 200) if turn in BEHIND else (lambda one=reader: started(one))
            eventually(lambda begun=begun: begun() or server.struck(), 10)
        return readers

    def until_all_have_ended(self) -> float:
        begun = time.monotonic()
        while live := self.database.ask(NOT_ENDED):
            assert time.monotonic() - begun < 2 * LEASE + 15, f"{live} have not ended"
            time.sleep(0.05)
        return time.monotonic() - begun

    def ended(self) -> dict[str, EndedTurn]:
        """The turns by name: all of them ended, each in its thread, none twice, and every invariant holds."""
        turns = assert_database_is_sound(self.database.ask, prefixes=True)
        named = {turn.turn_id.removesuffix("-turn"): turn for turn in turns}
        assert len(named) == len(turns), "a turn twice"
        if not self.copilot:  # whose chats have no names
            assert all(turn.thread == BEHIND.get(name, name) for name, turn in named.items())
        assert all(named[before].pk < named[name].pk for name, before in BEHIND.items() if name in named)
        return named

    def live_leases(self) -> int:
        query = "SELECT count(*) FROM chat_turns WHERE status = 'streaming' AND clock_timestamp() - heartbeat_at < %s"
        return int(self.database.ask(query, timedelta(seconds=LEASE))[0][0])


def body(turn: str, text: str) -> dict[str, Any]:
    queued = {"on_busy": "enqueue"} if turn in BEHIND else {}
    return said(BEHIND.get(turn, turn), text, turn_id=f"{turn}-turn", **queued)


def started(reader: Reader) -> bool:
    return b'"start"' in reader.received


def stop_hung(world: World, server: Preloaded, hung: Reader) -> Reader:
    """Ask for the stop of ``hung``, and of no turn behind it; the server may die of it."""
    assert hung.cursor
    return Reader(world.client(server), "POST", f"/api/turns/{hung.cursor.partition('-')[0]}/stop")


def assert_retries_are_the_same_turns(world: World, server: Preloaded, readers: dict[str, Reader]) -> int:
    """Every message that was sent is sent once more: the turn there is is joined; how many there were not."""
    begun = {turn.removesuffix("-turn") for (turn,) in world.database.ask("SELECT turn_id FROM chat_turns")}
    client = world.client(server)
    retries = {turn: world.send(client, turn) for turn in readers}
    for turn in retries.keys() - begun:
        assert not readers[turn].received, f"{turn} was shown, and is gone"
        if turn == "hung":
            retries[turn].until(b'"text-delta"')
            stop_hung(world, server, retries[turn])
    streams = {turn: retry.whole() for turn, retry in retries.items()}
    assert streams == {name: turn.stream for name, turn in world.ended().items()}
    return len(retries.keys() - begun)


def assert_a_late_riser_writes_nothing(
    world: World, sleeper: Preloaded, turns: dict[str, EndedTurn], readers: dict[str, Reader]
) -> None:
    """Not one row is written or rewritten when it wakes up; its readers get what is stored; and it is healthy."""
    ended = world.database.turns()
    before = rows_of(ended, world.database.ask)
    sleeper.send(signal.SIGCONT)
    for turn, reader in readers.items():
        reader.join(30)
        if reader.status == 503:  # PostgreSQL has ended the transaction that it slept in, and nothing was written
            continue
        assert reader.whole() == turns[turn].stream, f"{turn}: the reader of the sleeper is told something else"
    assert (world.database.turns(), rows_of(ended, world.database.ask)) == (ended, before)
    assert_nothing_comes_late(world, sleeper)
    assert rows_of(ended, world.database.ask) == before
    afterwards = world.ended()["afterwards"]
    assert afterwards.status == "completed", f"{afterwards.status} after {len(afterwards.log)} chunks"


def assert_nothing_comes_late(world: World, sleeper: Preloaded) -> None:
    """Whatever it still had in mind stands in front of this turn."""
    Reader(world.client(sleeper), "POST", "/api/chat", json=body("afterwards", "/tokens 3 0")).whole()


def summary(turns: dict[str, EndedTurn]) -> str:
    return ", ".join(f"{name} {turn.status} after {len(turn.log)} chunks" for name, turn in turns.items())
