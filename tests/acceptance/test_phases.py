"""The whole roll-out and the way back, with real servers: every step beside its neighbour, and people chatting."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from itertools import pairwise
from typing import Any

import httpx
import pytest

from chat.conf import Phase
from chat.testing.servers import Server
from tests.acceptance.database import Database
from tests.acceptance.server import ROOT
from tests.scale import LONG, rounds

pytestmark = [pytest.mark.timeout(900), pytest.mark.proof]

CHATS, WRITERS = 6, 4
# Seconds between two actions of a writer, at the most; and how many of them are saves of a whole history.
PAUSE, SAVES = rounds(0.2, 0.4), 0.05
BESIDE = rounds(1, 20)  # seconds in which two phases run side by side
THERE = [Phase.JSONB, Phase.DUAL, Phase.MIRROR_READS, Phase.MIRROR_ONLY][0 if LONG else 1 :]
JOURNEY = [*THERE, *reversed(THERE[:-1])]


class People:
    """Writers that chat all the time with whatever servers there are, and know what they said and heard."""

    def __init__(self, token: str, chats: list[str], *servers: Server) -> None:
        self.servers = list(servers)
        self.said: dict[str, list[str]] = defaultdict(list)
        self.wrong: list[str] = []
        self.turns = self.saves = 0
        self._token = token
        self._chats = chats
        self._lock = {chat: threading.Lock() for chat in chats}
        self._over = threading.Event()
        self._pause = threading.Event()
        self._quiet = threading.Barrier(WRITERS + 1)
        self._threads = [threading.Thread(target=self._chat, args=(number,), daemon=True) for number in range(WRITERS)]

    def __enter__(self) -> People:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._over.set()
        self._quiet.abort()
        for thread in self._threads:
            thread.join(60)

    def stop_for_a_moment(self) -> None:
        """Everybody has heard their answer and waits, until ``go_on``."""
        self._pause.set()
        self._quiet.wait(60)

    def go_on(self) -> None:
        self._pause.clear()
        self._quiet.wait(60)

    def _chat(self, number: int) -> None:
        chosen = random.Random(number)
        count = 0
        while not self._over.is_set():
            try:
                if self._pause.is_set():
                    self._quiet.wait(60)
                    self._quiet.wait(60)
                    continue
            except threading.BrokenBarrierError:
                return
            time.sleep(chosen.uniform(0, PAUSE))
            count += 1
            chat = chosen.choice(self._chats)
            if self._lock[chat].acquire(blocking=False):
                try:
                    if chosen.random() < SAVES:
                        self._save(chosen, chat)
                    else:
                        self._send(chosen, chat, f"{number}-{count}")
                finally:
                    self._lock[chat].release()

    def _send(self, chosen: random.Random, chat: str, name: str) -> None:
        body = {"chatId": chat, "userMessageId": name, "message": "/tokens 3 0"}
        while (
            not self._over.is_set()
        ):  # a server that goes away answers nothing; the same message again is the same turn
            try:
                with self._client(chosen) as client:
                    answer = client.post("/api/copilot/chat", json=body)
                    if answer.status_code == 200 and answer.content.endswith(b"data: [DONE]\n\n"):
                        break
                    if answer.status_code not in (200, 503):
                        self.wrong.append(f"{name}: {answer.status_code} {answer.text[:200]}")
                        return
            except httpx.TransportError:
                time.sleep(0.05)
        else:
            return
        self.said[chat].append(name)
        self.turns += 1

    def _save(self, chosen: random.Random, chat: str) -> None:
        """The whole history as it was read, as the older product saves it: nothing may change by it."""
        try:
            with self._client(chosen) as client:
                found = client.get(f"/api/copilot/chats/{chat}/?limit=200").json()
                body = {"messages": found["messages"], "messages_version": found["messages_version"]}
                if found.get("earlier"):
                    return
                answer = client.post(f"/api/copilot/chats/{chat}/update-messages/", json=body)
                if answer.status_code not in (200, 409, 503):
                    self.wrong.append(f"save of {chat}: {answer.status_code} {answer.text[:200]}")
                self.saves += answer.status_code == 200
        except httpx.TransportError:
            time.sleep(0.05)

    def _client(self, chosen: random.Random) -> httpx.Client:
        return chosen.choice(self.servers).client(self._token)


def transcript(server: Server, token: str, chat: str) -> list[dict[str, Any]]:
    """All messages of a chat through the API, page by page."""
    with server.client(token) as client:
        page = client.get(f"/api/copilot/chats/{chat}/?limit=50").json()
        messages = page["messages"]
        while page.get("earlier"):
            page = client.get(page["earlier"]).json()
            messages = [*page["messages"], *messages]
    return list(messages)


def reconcile(database: Database, phase: Phase, *options: str) -> int:
    """``manage.py reconcile_messages`` as the runbook has it; its exit code."""
    environment = os.environ | database.server(COPILOT_MESSAGES_PHASE=phase).environment
    done = subprocess.run(
        [sys.executable, "manage.py", "reconcile_messages", *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    print(done.stdout, done.stderr)
    return done.returncode


def test_forward_through_all_phases_and_back_nothing_of_a_transcript_changes(database: Database) -> None:
    token = database.token
    current = database.server(COPILOT_MESSAGES_PHASE=JOURNEY[0])
    current.start()
    servers = [current]
    try:
        with current.client(token) as client:
            chats = [client.post("/api/copilot/chats/", json={"title": f"Chat {n}"}).json()["id"] for n in range(CHATS)]
        with People(token, chats, current) as people:
            for earlier, phase in pairwise(JOURNEY):
                if phase == Phase.MIRROR_READS and earlier == Phase.DUAL:
                    assert refused(database, Phase.MIRROR_READS), "nobody has compared the mirror yet"
                    reconcile(database, Phase.DUAL, "--repair")
                    assert reconcile(database, Phase.DUAL, "--check") == 0
                if phase == Phase.DUAL and earlier == Phase.MIRROR_READS:
                    assert refused(database, Phase.DUAL), "arrays lack messages, and nobody says so"
                    assert reconcile(database, Phase.MIRROR_READS, "--from-mirror") == 0
                following = database.server(COPILOT_MESSAGES_PHASE=phase)
                servers.append(following)
                following.start()
                people.servers = [current, following]
                time.sleep(BESIDE)
                people.stop_for_a_moment()
                before = [transcript(current, token, chat) for chat in chats]
                # Two phases that write differently read the same, but for a mirror that nobody has reconciled yet.
                if {earlier, phase} != {Phase.JSONB, Phase.DUAL}:
                    assert [transcript(following, token, chat) for chat in chats] == before
                people.servers = [following]
                people.go_on()
                current.send(signal.SIGTERM)
                current.wait(30)
                time.sleep(BESIDE / 2)
                current = following
                people.stop_for_a_moment()
                for chat, earlier_words in zip(chats, before, strict=True):
                    now = transcript(current, token, chat)
                    assert now[: len(earlier_words)] == earlier_words
                    assert [one["id"] for one in now if one["role"] == "user"] == people.said[chat]
                    assert [one["role"] for one in now] == ["user", "assistant"] * (len(now) // 2)
                people.go_on()
                print(f"{earlier} -> {phase}: {people.turns} turns, {people.saves} saves")
            assert not people.wrong
        assert people.turns > 20
    finally:
        for server in servers:
            server.stop()


def refused(database: Database, phase: Phase) -> bool:
    """Whether a server refuses to start in this phase."""
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--database", "default"],
        cwd=ROOT,
        env=os.environ | database.server(COPILOT_MESSAGES_PHASE=phase).environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode != 0 and "chat.E003" in done.stderr
