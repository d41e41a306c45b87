"""Sixteen writers on the same chats: nothing lost, nothing doubled, a stale save refused."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import close_old_connections, connection

from chat.conf import Phase
from chat.errors import StaleMessages
from chat.models import CopilotChat, CopilotMessage
from chat.store import copilot
from chat.store.scope import Scope
from tests.copilot.chats import array, chat_with, element, mirror
from tests.copilot.test_writer import end, send
from tests.scale import rounds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]
WRITERS, CHATS = 16, 4
ROUNDS = rounds(25, 200)
PAIRS = rounds(60, 2_000)


@pytest.mark.parametrize("phase", [Phase.DUAL, Phase.MIRROR_READS, Phase.MIRROR_ONLY])
def test_nothing_is_lost_or_doubled(asker: Scope, settings: Any, phase: Phase) -> None:
    """Turns with shared and with own ids, whole-array saves of what was read, and an older program's guarded append."""
    settings.COPILOT_MESSAGES_PHASE = phase
    chats = [chat_with(asker, "u0", "a0") for _ in range(CHATS)]
    seed = random.randrange(2**32)
    written: dict[uuid.UUID, set[str]] = defaultdict(lambda: {"u0", "a0"})
    saved = refused = 0
    lock = threading.Lock()
    barrier = threading.Barrier(WRITERS)

    def write(chat: uuid.UUID, chosen: random.Random, writer: int, number: int) -> None:
        nonlocal saved, refused
        kind = chosen.choice(["turn", "turn", "shared", "save", "older"])
        name = f"shared-{number}" if kind == "shared" else f"own-{writer}-{number}"
        if kind in ("turn", "shared"):
            send(asker, chat, element(f"u-{name}"))
            end(chat, f"u-{name}", element(f"a-{name}", "assistant"))
            new = {f"u-{name}", f"a-{name}"}
        elif kind == "older" and phase != Phase.MIRROR_ONLY:
            older_append(chat, name)
            new = {name}
        else:
            stored = CopilotChat.objects.get(pk=chat)
            history = stored.messages if phase != Phase.MIRROR_ONLY else contents(chat)
            try:
                copilot.replace_messages(asker, chat, [*history, element(name)], version=stored.messages_version)
            except StaleMessages:
                with lock:
                    refused += 1
                return
            new = {name}
            with lock:
                saved += 1
        with lock:
            written[chat] |= new

    def worker(writer: int) -> None:
        chosen = random.Random(seed + writer)
        close_old_connections()
        barrier.wait(30)
        try:
            for number in range(ROUNDS):
                write(chosen.choice(chats), chosen, writer, number)
        finally:
            close_old_connections()

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(worker, range(WRITERS)))
    assert saved, seed
    assert refused, seed
    for chat in chats:
        found = mirror(chat) if phase == Phase.MIRROR_ONLY else array(chat)
        assert len(found) == len(set(found)), seed
        assert set(found) == written[chat], seed
        if phase != Phase.MIRROR_ONLY:
            # What the older program wrote, and no save of ours took up, waits for the reconcile; all else is in place.
            there = mirror(chat)
            assert [name for name in found if name in set(there)] == there, seed
            assert all(name.startswith("own-") for name in set(found) - set(there)), seed


@pytest.mark.parametrize("phase", [Phase.JSONB, Phase.DUAL, Phase.MIRROR_READS])
def test_an_older_program_that_appends_the_answer_beside_the_turn_s_end_leaves_one(
    asker: Scope, settings: Any, phase: Phase
) -> None:
    settings.COPILOT_MESSAGES_PHASE = phase
    barrier = threading.Barrier(2)

    def older(chat: uuid.UUID, pause: float) -> None:
        close_old_connections()
        barrier.wait(30)
        time.sleep(pause)
        older_append(chat, "a1", "assistant")
        close_old_connections()

    def ours(chat: uuid.UUID, pause: float) -> bool:
        close_old_connections()
        barrier.wait(30)
        time.sleep(pause)
        try:
            return end(chat, "u1", element("a1", "assistant"))
        finally:
            close_old_connections()

    won: Counter[bool] = Counter()
    with ThreadPoolExecutor(2) as pool:
        for number in range(PAIRS):
            pauses = sorted((0.0, random.uniform(0, 0.008)), reverse=bool(number % 2))  # each has its head starts
            chat = chat_with(asker, "u1", active_stream_id="u1")
            both = pool.submit(older, chat, pauses[0]), pool.submit(ours, chat, pauses[1])
            both[0].result()
            won[both[1].result()] += 1
            assert array(chat) == ["u1", "a1"]
            assert mirror(chat) in (["u1", "a1"], ["u1"]), "what the older program wrote waits for the reconcile"
            assert CopilotChat.objects.get(pk=chat).active_stream_id is None
    assert len(won) == 2, f"one was always first: {won}"


def older_append(chat: uuid.UUID, name: str, role: str = "user") -> None:
    """As the older program does it, from a version of its own that had learned to guard its appends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE copilot_chats SET messages = messages || %s::jsonb WHERE id = %s AND NOT messages @> %s::jsonb",
            [json.dumps([element(name, role)]), chat, json.dumps([{"id": name}])],
        )


def contents(chat: uuid.UUID) -> list[dict[str, Any]]:
    return [row.content for row in CopilotMessage.objects.filter(chat=chat).order_by("seq")]
