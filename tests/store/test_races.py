"""Races over real connections: threads that start at one barrier."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any

import pytest
from django.db import close_old_connections, connection, connections, transaction

from chat.errors import ChatError, ThreadBusy, TurnConflict, TurnNotFound
from chat.models import Message, Thread, TokenUsage, Turn, TurnStatus
from chat.store.finalize import Ended
from chat.store.leases import renew
from chat.store.messages import append_message
from chat.store.scope import Scope
from chat.store.stream_log import LogRow, append
from chat.store.threads import open_thread
from chat.testing.invariants import assert_invariants
from tests.races import backend_pid, race, waits
from tests.store.test_turns import ANSWER, begin, finish, text

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


def test_ten_thousand_racing_writes_for_five_hundred_turns(asker: Scope) -> None:
    """Server turn, retry, legacy append of both roles and finalise in every order, over 32 connections."""
    seed = random.randrange(2**32)
    shuffled = random.Random(seed)
    threads = [open_thread(asker, f"thread {number}") for number in range(500)]
    kinds = ["send"] * 8 + ["append user"] * 6 + ["append answer"] * 3 + ["finish"] * 3
    work = [(thread, f"turn {number}", kind) for number, thread in enumerate(threads) for kind in kinds]
    shuffled.shuffle(work)
    user_ids: dict[str, set[int]] = defaultdict(set)
    answer_ids: dict[str, set[int]] = defaultdict(set)
    begun: dict[str, Any] = {}
    refusals: Counter[type] = Counter()
    lock = threading.Lock()
    barrier = threading.Barrier(32)

    def write(thread: uuid.UUID, turn_id: str, kind: str) -> None:
        if kind == "send":
            turn = begin(asker, thread, turn_id, f"question of {turn_id}")
            with lock:
                begun[turn_id] = turn
                user_ids[turn_id].add(turn.user_message_id)  # type: ignore[arg-type]
                answer_ids[turn_id].add(turn.assistant_message_id)  # type: ignore[arg-type]
        elif kind == "append user":
            message = append_message(asker, thread, "user", text("appended"), turn_id=turn_id)
            with lock:
                user_ids[turn_id].add(message.id)
        elif kind == "append answer":
            message = append_message(asker, thread, "assistant", text("forged"), turn_id=turn_id)
            with lock:
                answer_ids[turn_id].add(message.id)
        elif (turn := begun.get(turn_id)) is not None:
            finish(turn)

    def worker(share: list[tuple[uuid.UUID, str, str]]) -> None:
        barrier.wait(30)
        for thread, turn_id, kind in share:
            close_old_connections()
            try:
                write(thread, turn_id, kind)
            except TurnNotFound:  # an append of an answer before its send: documented
                with lock:
                    refusals[TurnNotFound] += 1
            finally:
                close_old_connections()

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(worker, [work[number::32] for number in range(32)]))

    for turn in begun.values():
        finish(turn)
    assert len(work) == 10_000
    assert Turn.objects.count() == 500, f"seed {seed}"
    assert Message.objects.count() == 1000, f"seed {seed}"
    assert all(len(ids) == 1 for ids in (*user_ids.values(), *answer_ids.values())), f"seed {seed}"
    assert TokenUsage.objects.count() == 500
    questions = dict(Message.objects.filter(role="user").values_list("turn_id", "parts"))
    assert questions == {turn_id: text(f"question of {turn_id}") for turn_id in begun}
    assert all(parts == ANSWER for parts in Message.objects.filter(role="assistant").values_list("parts", flat=True))
    assert_invariants()


def test_one_send_wins_and_the_losers_learn_its_cursor_and_leave_no_rows(asker: Scope) -> None:
    for number in range(20):
        thread = open_thread(asker, f"busy {number}")
        results = race([lambda n=n, t=thread: begin(asker, t, f"turn {n}") for n in range(16)])
        winners = [turn for turn in results if not isinstance(turn, ChatError)]
        losers = [error for error in results if isinstance(error, ThreadBusy)]
        assert (len(winners), len(losers)) == (1, 15)
        assert {error.details["cursor"] for error in losers} == {f"{winners[0].pk}-0"}
        assert Message.objects.filter(thread_id=thread).count() == 2
        assert Turn.objects.filter(thread_id=thread).count() == 1


def test_of_two_payloads_for_one_turn_id_one_is_stored_and_the_other_refused(asker: Scope) -> None:
    for number in range(20):
        thread = open_thread(asker, f"payloads {number}")
        results = race([lambda n=n, t=thread: begin(asker, t, "same", f"payload {n % 2}") for n in range(16)])
        (stored,) = Message.objects.filter(thread_id=thread, role="user")
        refused = [error for error in results if isinstance(error, TurnConflict)]
        assert len(refused) == 8
        assert stored.parts in (text("payload 0"), text("payload 1"))


def test_a_new_thread_is_made_once_by_whoever_asks_first(asker: Scope) -> None:
    results = race([lambda: open_thread(asker, "new")] * 32)
    assert len(set(results)) == 1
    assert Thread.objects.count() == 1


def test_of_stop_and_completion_exactly_one_ends_the_turn(asker: Scope) -> None:
    for number in range(50):
        thread = open_thread(asker, f"ending {number}")
        turn = begin(asker, thread)
        ends: list[tuple[TurnStatus, list[Any]]] = [
            (TurnStatus.COMPLETED, ANSWER),
            (TurnStatus.STOPPED, ANSWER[:1]),
            (TurnStatus.INTERRUPTED, []),
            (TurnStatus.FAILED, ANSWER[:1]),
        ]
        results = race([lambda e=end, t=turn: finish(t, status=e[0], parts=e[1]) for end in ends])
        assert sorted(map(bool, results)) == [False, False, False, True]
        status, parts = ends[results.index(True)]
        assert Turn.objects.get(pk=turn.pk).status == status
        assert Message.objects.get(pk=turn.assistant_message_id).parts == parts
    assert_invariants()


def test_a_send_that_waits_for_the_end_of_the_turn_before_does_not_deadlock_with_it(asker: Scope) -> None:
    thread = open_thread(asker, "relay")
    turn = begin(asker, thread, "turn 0")
    for number in range(1, 50):
        results = race(
            [
                lambda t=turn: finish(t),
                lambda n=number: begin(asker, thread, f"turn {n}"),
                lambda n=number: append_message(asker, thread, "user", text("x"), turn_id=f"turn {n}"),
            ]
        )
        assert results[0] == Ended.YES
        turn = begin(asker, thread, f"turn {number}")
    assert Turn.objects.count() == 50


# How PostgreSQL may join what a heartbeat names with the turns: which way it takes goes by the sizes of both.
JOINS = ("enable_hashjoin", "enable_mergejoin", "enable_nestloop")


@pytest.mark.parametrize("join", [*JOINS, ""], ids=lambda join: join or "as planned")
def test_an_append_and_a_heartbeat_lock_the_turns_of_a_process_in_one_order(asker: Scope, join: str) -> None:
    """Two threads of it do so at once. Somebody holds the turn in the middle until both are on their way."""
    turns = [begin(asker, open_thread(asker, f"many {number}")) for number in range(8)]
    for turn in reversed(
        turns
    ):  # by their places in the table, and by their heartbeats, they stand the other way round
        renew([(turn.pk, turn.epoch)])
    pids: Queue[int] = Queue()

    def run(job: Callable[[], Any]) -> int:
        pids.put(backend_pid())
        with connection.cursor() as cursor:
            cursor.execute("SET enable_indexscan = off")  # which would find them in order
            for other in JOINS:
                cursor.execute(f"SET {other} = {'off' if join not in ('', other) else 'on'}")
        try:
            return len(job())
        finally:
            with connection.cursor() as cursor:  # the pool gives it to somebody else
                for other in (*JOINS, "enable_indexscan"):
                    cursor.execute(f"RESET {other}")
            connections.close_all()

    rows = [LogRow(turn.pk, turn.epoch, 1, [b"{}"]) for turn in turns]
    jobs: list[Callable[[], Any]] = [
        lambda: append(rows, "p"),
        lambda: renew((turn.pk, turn.epoch) for turn in turns),
    ]
    with ThreadPoolExecutor(len(jobs)) as pool:
        with transaction.atomic():
            Turn.objects.select_for_update().get(pk=turns[4].pk)
            done = []
            for job in jobs:
                done.append(pool.submit(run, job))
                pid = pids.get(timeout=30)
                while not waits(pid):
                    assert not done[-1].done()
        assert [one.result() for one in done] == [len(turns)] * 2
