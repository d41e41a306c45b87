"""Readers that follow a turn whatever happens to the connection, as a careful client does, and what they got."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
import orjson

from chat.protocol import sse
from chat.protocol.fold import fold
from tests.acceptance.restartable_postgres import Cluster
from tests.acceptance.server import eventually

ENDED = ("completed", "stopped", "interrupted", "failed")


class Follower(threading.Thread):
    """Reads a stream to its ``[DONE]``; where it is cut, it resumes behind the last whole event it got.

    ``cuts`` counts connections that ended early, ``refusals`` the codes of JSON errors. Anything else an answer may
    be is a mistake, and kept in ``mistake``.
    """

    def __init__(self, client: httpx.Client, method: str, path: str, **request: Any) -> None:
        super().__init__(daemon=True)
        self._received = bytearray()
        self.cuts = 0
        self.refusals: list[str] = []
        self.mistake = ""
        self._client = client
        self._first: dict[str, Any] = {"method": method, "url": path, **request}
        self.start()

    @property
    def received(self) -> bytes:
        return bytes(self._received)

    @property
    def cursor(self) -> str:
        return bytes(self._received.rpartition(b"id: ")[2].partition(b"\n")[0]).decode()

    @property
    def turn(self) -> int:
        return int(self.cursor.partition("-")[0])

    def run(self) -> None:
        deadline = time.monotonic() + 90
        while not self._received.endswith(sse.DONE) and not self.mistake:
            if time.monotonic() > deadline:
                self.mistake = f"no end; {self.cuts} cuts, {self.refusals} refusals"
            self._connect()

    def _connect(self) -> None:
        request = self._first
        if self.cursor:
            request = {"method": "GET", "url": f"/api/turns/{self.turn}/stream?after={self.cursor}"}
        begun = len(self._received)
        try:
            with self._client.stream(**request) as answer:
                if answer.status_code == 200:
                    for piece in answer.iter_raw():
                        self._received += piece
                else:
                    self._refused(answer.status_code, answer.read())
        except httpx.TransportError:
            pass
        except RuntimeError as problem:  # the test is over, and has closed the client
            self.mistake = str(problem)
        if self._received.endswith(sse.DONE):
            return
        if len(self._received) > begun:
            self.cuts += 1
        del self._received[self._received.rfind(b"\n\n") + 2 if b"\n\n" in self._received else 0 :]
        time.sleep(0.05)  # as a client does before it tries again

    def _refused(self, status: int, body: bytes) -> None:
        try:
            code = orjson.loads(body)["error"]["code"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            code = ""
        if status != 503 or not code:
            self.mistake = f"{status}: {body!r}"
        self.refusals.append(code)

    def until(self, words: bytes) -> None:
        assert eventually(lambda: words in self._received or self.mistake, 60), bytes(self._received[-200:])
        assert not self.mistake, self.mistake

    def whole(self) -> bytes:
        """Everything it got, but for comments, once it is at the end."""
        self.join(100)
        assert not self.mistake, self.mistake
        assert not self.is_alive(), f"no end: {bytes(self._received[-200:])!r}"
        return self.received.replace(sse.KEEP_ALIVE, b"")


def logged(cluster: Cluster, turn: int) -> list[bytes]:
    """The chunks of a turn's log."""
    found = cluster.query("SELECT chunks FROM chat_stream_events WHERE turn_id = %s ORDER BY first_seq", turn)
    return [chunk for row in found for chunk in row["chunks"].encode().split(b"\n")]


def streamed(cluster: Cluster, turn: int) -> bytes:
    """The bytes of a turn's whole stream, as its log says they are."""
    frames = [sse.frame(chunk, f"{turn}-{seq}") for seq, chunk in enumerate(logged(cluster, turn), 1)]
    return b"".join([*frames, sse.DONE])


def status_of(cluster: Cluster, turn: int) -> str:
    return str(cluster.query("SELECT status FROM chat_turns WHERE id = %s", turn)[0]["status"])


def assert_ended_as_shown(cluster: Cluster, followers: list[Follower]) -> str:
    """``followers`` read one turn: it has ended, each of them got exactly its log, and what is stored is the fold of
    that. Returns its status.
    """
    wholes = [follower.whole() for follower in followers]
    turn = followers[0].turn
    assert eventually(lambda: status_of(cluster, turn) in ENDED), "the turn has not ended"
    expected = streamed(cluster, turn)
    for whole in wholes:
        assert whole == expected
    answer = cluster.query(
        "SELECT m.parts FROM chat_messages m JOIN chat_turns t USING (thread_id, turn_id)"
        " WHERE t.id = %s AND m.role = 'assistant'",
        turn,
    )
    assert [one["parts"] for one in answer] == [fold(orjson.loads(chunk) for chunk in logged(cluster, turn))]
    return status_of(cluster, turn)
