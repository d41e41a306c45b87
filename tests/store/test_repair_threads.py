"""``manage.py repair_threads``: stored parts that nobody can read are found and mended, and nothing else is touched."""

from __future__ import annotations

import threading
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractUser
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction

from chat.models import Message, Thread, Turn
from chat.protocol.mending import UNREADABLE, mend
from chat.store import repairs
from chat.store.repairs import count_messages, repair
from chat.testing.client import Client
from chat.testing.invariants import assert_invariants
from tests.factories import MessageFactory, ThreadFactory, TurnFactory
from tests.folded import assert_shown_is_stored

pytestmark = [pytest.mark.django_db(transaction=True)]

CALL = {"type": "tool-search", "toolCallId": "c", "input": {}}
SECRET = "the treasure lies under the oak"
#: As an import leaves them, with what they become.
DAMAGE: list[tuple[Any, list[Any]]] = [
    (SECRET, [{"type": "text", "text": SECRET, "state": "done"}]),
    ({"text": SECRET}, [{"type": UNREADABLE, "data": {"text": SECRET}}]),
    (
        [{**CALL, "state": "input-available"}],
        [{**CALL, "state": "output-error", "errorText": "The tool gave no result."}],
    ),
    ([{"type": "text", "text": SECRET, "state": "streaming"}], [{"type": "text", "text": SECRET, "state": "done"}]),
]
WHOLE = [{"type": "step-start"}, {"type": "text", "text": SECRET, "state": "done"}]


@pytest.fixture
def thread(user: AbstractUser) -> Thread:
    """A thread with a question, a whole answer, and one answer with each kind of damage."""
    thread = ThreadFactory.create(owner=user, client_id="t1")
    parent = MessageFactory.create(thread=thread, parts=[{"type": "text", "text": "Where?"}])
    for parts in (WHOLE, *(parts for parts, _ in DAMAGE)):
        parent = MessageFactory.create(thread=thread, role="assistant", parts=parts, parent=parent)
    return thread


def run(*options: str) -> tuple[int, str]:
    """The exit code, and what was printed."""
    out = StringIO()
    try:
        call_command("repair_threads", *options, stdout=out)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


def stored(thread: Thread) -> list[Any]:
    return list(thread.messages.order_by("pk").values_list("parts", "updated_at"))


def test_a_check_finds_what_is_broken_says_so_and_writes_nothing(thread: Thread) -> None:
    before = stored(thread)
    code, said = run("--check")
    assert (code, stored(thread)) == (1, before)
    assert f"{len(DAMAGE)} broken messages, 0 mended, {len(DAMAGE)} left." in said
    assert said.count(str(thread.pk)) == len(DAMAGE)
    assert SECRET not in said


def test_a_repair_mends_it_leaves_the_rest_as_it_was_and_has_nothing_to_do_the_second_time(thread: Thread) -> None:
    Message.objects.filter(pk=thread.messages.order_by("pk")[2].pk).update(model="small")  # lies behind the others now
    before = stored(thread)
    assert run("--batch-size", "2")[0] == 0
    after = stored(thread)
    assert after[:2] == before[:2]
    assert [parts for parts, _ in after[2:]] == [mended for _, mended in DAMAGE]
    assert run("--check") == (0, "Nothing is broken.\n")
    assert run()[0] == 0
    assert stored(thread) == after


def test_only_the_threads_that_are_named_are_looked_at(thread: Thread) -> None:
    other = MessageFactory.create(role="assistant", parts="odd")
    assert count_messages([other.thread_id]) == 1
    assert run("--thread", str(other.thread_id))[0] == 0
    assert run("--check", "--thread", str(thread.pk))[0] == 1
    assert run("--check", "--thread", str(other.thread_id))[0] == 0
    with pytest.raises(CommandError) as refused:
        run("--thread", "00000000-0000-0000-0000-000000000000")
    assert refused.value.returncode == 2


@pytest.mark.parametrize("status", ["streaming", "completed"])
def test_the_answer_of_a_turn_that_goes_on_is_left_alone(status: str) -> None:
    turn = TurnFactory.create(status=status)
    parts = [{"type": "text", "text": "Well", "state": "streaming"}]
    TurnFactory.create(turn_id=turn.turn_id, status="streaming")
    if status == "completed":
        TurnFactory.create(thread=turn.thread, status="streaming")
    answer = MessageFactory.create(thread=turn.thread, turn_id=turn.turn_id, role="assistant", parts=parts)
    assert run("--check")[0] == (1 if status == "completed" else 0)
    run()
    answer.refresh_from_db()
    assert answer.parts[0]["state"] == ("done" if status == "completed" else "streaming")


def test_messages_that_are_broken_alike_are_mended_each_for_itself() -> None:
    first, _ = (MessageFactory.create(role="assistant", parts="odd") for _ in range(2))
    Message.objects.filter(pk=first.pk).update(id=1)
    (looked,) = repair(None, write=True, batch_size=10)
    assert [broken.mended for broken in looked.broken] == [True, True]


def test_the_answer_of_a_turn_that_goes_on_by_then_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = TurnFactory.create()
    answer = MessageFactory.create(thread=turn.thread, turn_id=turn.turn_id, role="assistant", parts="odd")

    def mended(*args: Any) -> Any:
        Turn.objects.update(status="streaming")
        return mend(*args)

    monkeypatch.setattr(repairs, "mend", mended)
    (looked,) = repair(None, write=True, batch_size=10)
    assert [broken.mended for broken in looked.broken] == [False]
    answer.refresh_from_db()
    assert answer.parts == "odd"


def test_who_writes_the_message_at_the_same_time_is_not_written_over(user: AbstractUser) -> None:
    message = MessageFactory.create(role="assistant", parts="odd")
    newer = [{"type": "text", "text": "newer", "state": "done"}]
    told: list[Any] = []

    def mend() -> None:
        try:
            told.extend(broken for looked in repair(None, write=True, batch_size=10) for broken in looked.broken)
        finally:
            connections.close_all()

    with transaction.atomic():
        Message.objects.filter(pk=message.pk).update(parts=newer)
        mending = threading.Thread(target=mend)
        mending.start()
        with connection.cursor() as cursor:
            waits = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            while True:  # until it stands behind this transaction
                cursor.execute("SELECT pg_stat_clear_snapshot()")
                cursor.execute(waits)
                if cursor.fetchone()[0]:
                    break
    mending.join(10)
    message.refresh_from_db()
    assert message.parts == newer
    assert [(broken.message, broken.mended) for broken in told] == [(message.pk, False)]


def test_what_was_mended_before_it_was_interrupted_stays_and_the_rest_is_mended_later(thread: Thread) -> None:
    steps = repair(None, write=True, batch_size=3)
    assert [broken.mended for broken in next(steps).broken] == [True]
    steps.close()
    assert f"{len(DAMAGE) - 1} broken messages, {len(DAMAGE) - 1} mended" in run()[1]
    assert run("--check")[0] == 0


@pytest.mark.usefixtures("drained")
@pytest.mark.parametrize("mended", [False, True])
async def test_the_thread_can_be_read_and_gone_on_with(client: Client, thread: Thread, mended: bool) -> None:
    if mended:
        await sync_to_async(run)()
    page = await client.request("GET", "/api/threads/t1/messages/")
    assert len(page.json()["results"]) == len(DAMAGE) + 2
    turn = await assert_shown_is_stored((await client.send("t1", "/tokens 2 0")).chunks())
    assert turn.status == "completed"
    await sync_to_async(assert_invariants)()
