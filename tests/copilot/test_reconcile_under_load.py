"""The command runs all the time, and is killed again and again, while fifty writes a second change the same chats."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction

from chat.errors import MessageNotFound, StaleMessages
from chat.management.reconcile_report import locks
from chat.models import CopilotChat, ReconcileRun
from chat.store import copilot
from chat.store.drift import Kind
from chat.store.scope import Scope
from tests.acceptance.cluster import database_of_this_test
from tests.acceptance.server import ROOT
from tests.copilot.chats import chat_with, element
from tests.copilot.reconciling import (
    CHECK,
    CLEAN,
    REPAIR,
    arguments,
    assert_mirror_is_right,
    command,
    drift,
    execute,
    left,
    reconciled,
    settings,
)
from tests.scale import LONG, rounds

pytestmark = [
    pytest.mark.proof,
    pytest.mark.alone,
    pytest.mark.calm,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(rounds(180, 1200)),
]
SECONDS = rounds(8, 300)
KILLS = rounds(2, 20)
WRITES_A_SECOND = 50
WRITERS = 10
SMALL, LARGE = 40, 5  # chats; the large ones have arrays of a megabyte
P99_MS, MOST_MS = 100, 500  # for which the command may hold locks


class Load:
    """Writers over all six places. ``counts`` says how often each one wrote, ``slowest`` how long a write took."""

    def __init__(self, asker: Scope, chats: list[uuid.UUID], large: list[uuid.UUID]) -> None:
        self.asker, self.chats, self.large = asker, chats, large
        self.counts: Counter[str] = Counter()
        self.durations: list[float] = []
        self.turns: dict[uuid.UUID, str] = {}
        self.lock = threading.Lock()
        self.stop = threading.Event()

    def run(self, number: int) -> None:
        chosen = random.Random(number)
        try:
            while not self.stop.wait(chosen.expovariate(WRITES_A_SECOND / WRITERS)):
                chat = chosen.choice(self.large if chosen.random() < 0.1 else self.chats)
                place = chosen.choice(PLACES)
                begun = time.monotonic()
                place(self, chat, chosen)
                with self.lock:
                    self.durations.append(time.monotonic() - begun)
                    self.counts[place.__name__] += 1
        finally:
            connections.close_all()

    def send(self, chat: uuid.UUID, chosen: random.Random) -> None:
        with transaction.atomic():
            self._send(chat, f"u-{uuid.uuid4()}")

    def terminal_state(self, chat: uuid.UUID, chosen: random.Random) -> None:
        with self.lock:
            turn = self.turns.get(chat, "u0")
        with transaction.atomic():
            self._answer(chat, turn)

    def inbox(self, chat: uuid.UUID, chosen: random.Random) -> None:
        turn = f"u-{uuid.uuid4()}"
        with transaction.atomic():
            self._send(chat, turn)
            self._answer(chat, turn)

    def fork(self, chat: uuid.UUID, chosen: random.Random) -> None:
        try:
            made = copilot.fork_chat(self.asker, chat, chosen.choice(["u0", "a0"]))
        except MessageNotFound:
            return
        with self.lock:
            self.chats[chosen.randrange(len(self.chats))] = made

    def update_messages(self, chat: uuid.UUID, chosen: random.Random) -> None:
        stored = CopilotChat.objects.get(pk=chat)
        history = list(stored.messages)
        if len(history) > 3:
            history.pop(chosen.randrange(1, len(history)))
            if isinstance(history[-1], dict):
                history[-1] = {**history[-1], "content": "changed"}
            moved = chosen.randrange(1, len(history) - 1)
            history[moved], history[moved + 1] = history[moved + 1], history[moved]
        with suppress(StaleMessages):
            copilot.replace_messages(self.asker, chat, history, version=stored.messages_version)

    def import_(self, chat: uuid.UUID, chosen: random.Random) -> None:
        history = [element("u0"), element("a0", "assistant"), "no object", element("u0", content="again")]
        made = copilot.import_chat(self.asker.user_id, title="", model="m", elements=history)  # type: ignore[arg-type]
        with self.lock:
            self.chats[chosen.randrange(len(self.chats))] = made

    def _send(self, chat: uuid.UUID, turn: str) -> None:
        copilot.write_user_message(copilot.lock_chat(self.asker, chat), element(turn), stream_id=turn)
        with self.lock:
            self.turns[chat] = turn

    def _answer(self, chat: uuid.UUID, turn: str) -> None:
        answer = element(f"a-{uuid.uuid4()}", "assistant", contentBlocks=[{"type": "text", "content": "words " * 50}])
        copilot.write_answer(copilot.lock_chat(None, chat), turn_id=turn, answer=answer)


PLACES: list[Callable[[Load, uuid.UUID, random.Random], None]] = [
    Load.send,
    Load.terminal_state,
    Load.inbox,
    Load.fork,
    Load.update_messages,
    Load.import_,
]


@contextmanager
def writing(asker: Scope, *, and_: Callable[[Load], None] | None = None) -> Iterator[Load]:
    """Writers, and perhaps somebody else, at work meanwhile; an error of any of them is raised."""
    words = "".join(random.choices("abcdefghij klmnop", k=900))
    large = [
        chat_with(asker, messages=[element(name, content=words) for name in ["u0", "a0", *map(str, range(1000))]])
        for _ in range(LARGE)
    ]
    load = Load(asker, [chat_with(asker, "u0", "a0") for _ in range(SMALL)], large)
    assert execute("SELECT min(octet_length(messages::text)) > 1000000 FROM copilot_chats WHERE id = ANY (%s)", large)
    with ThreadPoolExecutor(WRITERS + 1) as pool:
        workers = [pool.submit(load.run, number) for number in range(WRITERS)]
        if and_:
            workers.append(pool.submit(and_, load))
        try:
            yield load
        finally:
            load.stop.set()
        for worker in workers:
            worker.result()
    assert set(load.counts) == {place.__name__ for place in PLACES}


def run_and_kill(*options: str) -> tuple[list[dict[str, Any]], int]:
    """Run the command again and again for SECONDS, on a busy machine until two have come to their end. What those told,
    and how many were killed.
    """
    told, killed = [], 0
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < SECONDS or killed < KILLS or len(told) < 2:
        run = subprocess.Popen(
            arguments(*options, "--json", "--batch-size", "50"),
            env=settings(),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if killed < KILLS and killed / KILLS <= passed / SECONDS:
            begun_runs = ReconcileRun.objects.count()
            while ReconcileRun.objects.count() == begun_runs and run.poll() is None:
                time.sleep(0.005)
            time.sleep(random.uniform(0, 0.3))
            run.send_signal(signal.SIGKILL)
            killed += 1
        out, errors = run.communicate()
        if run.returncode >= 0:
            assert run.returncode in (0, 1), errors
            told.append(json.loads(out))
    return told, killed


def test_nothing_is_mended_that_was_not_wrong(asker: Scope, caplog: pytest.LogCaptureFixture) -> None:
    """Every write is mirrored in its own transaction: whatever a run finds would be its own mistake, unless the machine
    was so busy that a write of the mirror took too long, which is logged.
    """
    with writing(asker) as load:
        told, killed = run_and_kill("--repair")
    total = sum(load.counts.values())
    print(
        f"\n{total} writes in {SECONDS} s: {dict(load.counts)}; {len(told)} runs, {killed} killed; a write took "
        f"{quantiles(load.durations)}"
    )
    assert killed == KILLS
    if "could not be written" not in caplog.text:
        assert [run["found"] for run in told if drift_of(run["found"])] == []
    checked = command("--check")
    assert checked.returncode == 0, checked.stdout
    assert_mirror_is_right()
    if LONG:
        assert total > 0.9 * WRITES_A_SECOND * SECONDS


def test_what_goes_wrong_meanwhile_is_mended_and_nobody_waits_for_long(asker: Scope) -> None:
    """Somebody spoils the mirror, an older program appends without it: both are mended while the writers go on."""
    done: Counter[str] = Counter()

    def spoil(load: Load) -> None:
        chosen = random.Random(1)
        with psycopg.connect(database_of_this_test(), autocommit=True) as own:
            while not load.stop.wait(0.05):
                chat = chosen.choice(load.large if chosen.random() < 0.3 else load.chats)
                kind, statement = chosen.choice(DAMAGE)
                own.execute(statement, {"chat": chat, "id": f"x-{uuid.uuid4()}", "some": chosen.random()})
                done[kind] += 1

    held: list[float] = []
    mended = Counter[str]()

    def repair(load: Load) -> None:
        spoiler = threading.Thread(target=spoil, args=[load])
        spoiler.start()
        try:
            while not load.stop.is_set():
                step = reconciled(REPAIR, examples=1, batch_size=20)
                held.extend(step.locked)
                mended.update(map(str, (step.found - step.left).elements()))
                assert not step.busy
        finally:
            spoiler.join()
            connections.close_all()

    with writing(asker, and_=repair) as load:
        told, killed = run_and_kill("--repair")
    ours = [run["locks"] for run in told if run["locks"]["transactions"]]
    print(
        f"\n{sum(load.counts.values())} writes, {sum(done.values())} times spoiled: {dict(done)}; {len(told)} runs, "
        f"{killed} killed; locks held by this process {locks(held)}, by the commands at most "
        f"{max((one['max_ms'] for one in ours), default=0)} ms; a write took {quantiles(load.durations)}"
    )
    for run in told:
        mended.update(run["mended"])
    assert set(mended) >= {Kind.MISSING, Kind.CHANGED, Kind.EXTRA, Kind.MISORDERED}
    assert left(reconciled(REPAIR)) == CLEAN
    assert drift(reconciled(CHECK)) == CLEAN
    assert_mirror_is_right()
    if LONG:
        assert locks(held)["p99_ms"] <= P99_MS
        assert max([locks(held)["max_ms"], *(one["max_ms"] for one in ours)]) <= MOST_MS


def drift_of(found: dict[str, int]) -> dict[str, int]:
    return {kind: number for kind, number in found.items() if number and kind != Kind.REJECTED}


def quantiles(durations: list[float]) -> str:
    told = locks(durations)
    return f"{told['p99_ms']} ms at p99, {told['max_ms']} ms at most"


DAMAGE = [
    ("missing", "DELETE FROM copilot_chat_messages WHERE chat_id = %(chat)s AND seq %% 3 = 1"),
    (
        "changed",
        """UPDATE copilot_chat_messages SET content = content || '{"content": "spoiled"}'
            WHERE chat_id = %(chat)s AND seq %% 5 = 1""",
    ),
    ("misordered", "UPDATE copilot_chat_messages SET seq = seq + 2 WHERE chat_id = %(chat)s AND seq %% 4 = 1"),
    (
        "extra",
        """INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, created_at)
           SELECT id, %(id)s, 3, 'user', '{}', now() FROM copilot_chats WHERE id = %(chat)s""",
    ),
    (
        "older program",
        """UPDATE copilot_chats SET messages = messages || jsonb_build_array(jsonb_build_object(
                  'id', 'x-older-' || %(id)s::text, 'role', 'user', 'content', 'older',
                  'timestamp', '2026-05-01T10:00:00.000Z'))
            WHERE id = %(chat)s""",
    ),
]
