"""What is done in one thread beside others whose names are the same: it finds its own rows, and changes no others."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection

from chat.errors import Contention, ThreadBusy, ThreadNotFound
from chat.models import CopilotChat, CopilotMessage, Message, Thread, TokenUsage, Turn, TurnStatus
from chat.store.begin import NewUserMessage, begin_turn_in, persist_assistant_shell
from chat.store.finalize import Ended
from chat.store.messages import append_message
from chat.store.queue import promote
from chat.store.scope import Scope
from chat.store.threads import delete_thread, open_thread
from chat.store.turns import StoredTurn
from chat.store.usage import UsageFigures, read_usage
from chat.store.versions import Revision
from tests.factories import MessageFactory
from tests.store.conversations import (
    GONE,
    another_answer,
    changed,
    chat_turn,
    edit,
    everything,
    message_of,
    not_current,
    revise,
    turn_of,
    wait_behind,
)
from tests.store.test_turns import ANSWER, USAGE, begin, finish, text

pytestmark = pytest.mark.django_db


@pytest.fixture
def thread(asker: Scope, thread: uuid.UUID) -> uuid.UUID:
    """In the threads beside it a third turn is live."""
    for name in ("before", "after"):
        begin(asker, open_thread(asker, name), "t3")
    return thread


# Beginnings


def queued(asker: Scope, thread: uuid.UUID) -> int:
    turn = begin(asker, thread, "busy")
    wait_behind(asker, thread, "t3")
    Message.objects.filter(turn_id="busy").delete()
    finish(turn)
    begun = promote(thread, "p")
    assert begun
    return int(begun.user_message_id or 0)


@pytest.mark.parametrize(
    "write",
    [
        lambda asker, thread: begin(asker, thread, "t3").user_message_id,
        lambda asker, thread: persist_assistant_shell(asker, thread, "t3").assistant_message_id,
        lambda asker, thread: append_message(asker, thread, "user", text("x")).id,
        queued,
    ],
    ids=["a send", "a shell", "an append", "a queued turn"],
)
def test_a_message_follows_the_last_current_one_of_its_thread(
    asker: Scope, thread: uuid.UUID, write: Callable[[Scope, uuid.UUID], int]
) -> None:
    not_current(thread)
    before = Thread.objects.get(pk=thread).updated_at
    message = Message.objects.get(pk=write(asker, thread))
    assert message.parent_id == message_of(thread, "t2").pk
    assert Thread.objects.get(pk=thread).updated_at > before


def test_a_second_turn_is_told_of_the_one_that_is_live_in_its_thread(asker: Scope, thread: uuid.UUID) -> None:
    live = begin(asker, thread, "t3")
    before = everything()
    with pytest.raises(ThreadBusy) as refused:
        begin(asker, thread, "t4")
    assert refused.value.details["turn"] == live.pk
    assert changed(before) == (set(), Counter())


def test_who_meets_a_queue_is_told_of_the_first_that_waits_in_its_thread(asker: Scope, thread: uuid.UUID) -> None:
    elsewhere = open_thread(asker, "before")
    wait_behind(asker, elsewhere, "t4")
    live = begin(asker, thread, "t3")
    first, _ = wait_behind(asker, thread, "t4"), wait_behind(asker, thread, "t5")
    finish(live)
    with pytest.raises(ThreadBusy) as refused:
        begin(asker, thread, "t6")
    assert (refused.value.details["turn"], refused.value.details["status"]) == (first.pk, "queued")
    assert begin(asker, open_thread(asker, "new"), "t6").created, "nobody waits there"


def test_a_send_into_what_was_deleted_or_is_somebody_elses_makes_no_difference_between_that_and_nothing(
    asker: Scope, thread: uuid.UUID, theirs: uuid.UUID
) -> None:
    def send(name: Any) -> StoredTurn:
        message = NewUserMessage(parts=text("Hello"))
        return begin_turn_in(asker, str(name), "t9", fingerprint="", request={}, user_message=message)

    delete_thread(asker, thread)
    before = everything()
    for name in (thread, "ours"):
        with pytest.raises(ThreadNotFound):
            send(name)
    assert changed(before) == (set(), Counter())
    for name in (theirs, uuid.uuid4()):
        turn = send(name)
        assert turn.created
        assert turn.thread_id not in (theirs, thread)
    assert changed(before) == (set(), Counter(Thread=2, Turn=2, Message=4))


def test_an_edit_replaces_what_it_edits_and_what_followed_and_nothing_else(asker: Scope, thread: uuid.UUID) -> None:
    not_current(thread)
    before = everything()
    turn = edit(asker, thread, "m2", "t3")
    rows = {("Message", message_of(thread, "t2", role).pk) for role in ("user", "assistant")}
    assert changed(before) == ({*rows, ("Thread", thread)}, Counter(Turn=1, Message=2))
    assert message_of(thread, "t3", "user").parent_id == message_of(thread, "t1").pk
    assert Turn.objects.get(pk=turn.pk).replaces_id == turn_of(thread, "t2").pk


@pytest.mark.parametrize("is_edit", [True, False])
@pytest.mark.parametrize("since", [{"is_current": False}, GONE], ids=["replaced", "deleted"])
def test_what_is_current_no_longer_is_not_revised(
    asker: Scope, thread: uuid.UUID, is_edit: bool, since: dict[str, Any]
) -> None:
    target = message_of(thread, "t2", "user" if is_edit else "assistant")
    Message.objects.filter(pk=target.pk).update(**since)
    revision = Revision(target.pk, target.parent_id, target.pk, turn_of(thread, "t2").pk, is_edit=is_edit)
    before = everything()
    with pytest.raises(Contention):
        revise(asker, thread, "t3", revision, NewUserMessage(text("x")) if is_edit else None)
    assert changed(before) == (set(), Counter())


# Ends


def test_an_end_changes_its_turn_its_answer_and_its_threads_activity(asker: Scope, thread: uuid.UUID) -> None:
    turn = begin(asker, thread, "t3")
    MessageFactory.create(thread_id=thread, parent_id=turn.assistant_message_id)  # was appended meanwhile
    before = everything()
    assert finish(turn) == Ended.YES
    rows = {("Turn", turn.pk), ("Message", turn.assistant_message_id), ("Thread", thread)}
    assert changed(before) == (rows, Counter(TokenUsage=1))
    assert turn_of(thread, "t3").last_seq == 0, "nothing of it was logged"


def test_the_late_end_of_a_turn_that_is_over_ends_no_other(asker: Scope, thread: uuid.UUID) -> None:
    over = begin(asker, thread, "t3")
    finish(over)
    begin(asker, thread, "t4")
    before = everything()
    assert finish(over, status=TurnStatus.STOPPED) == Ended.NO
    assert changed(before) == (set(), Counter())


def test_another_answer_takes_the_place_of_the_one_there_is_and_of_what_followed(
    asker: Scope, thread: uuid.UUID
) -> None:
    followed = append_message(asker, thread, "user", text("and then?"))
    not_current(thread)
    turn = another_answer(asker, thread, "m2", "t4")
    # An older client has written a question for it, which has none.
    MessageFactory.create(thread_id=thread, turn_id="t4", is_current=False)
    before = everything()
    assert finish(turn) == Ended.YES
    replaced = {("Message", message_of(thread, "t2").pk), ("Message", followed.id)}
    rows = {("Turn", turn.pk), ("Message", turn.assistant_message_id), ("Thread", thread)}
    assert changed(before) == (rows | replaced, Counter(TokenUsage=1))
    assert Message.objects.get(pk=turn.assistant_message_id).is_current


def test_whoever_cancels_a_turn_that_waits_cancels_one_and_learns_whether_another_waits(
    asker: Scope, thread: uuid.UUID
) -> None:
    elsewhere = open_thread(asker, "before")
    wait_behind(asker, elsewhere, "t4")
    begin(asker, thread, "t3")
    waiting = [wait_behind(asker, thread, "t4"), wait_behind(asker, thread, "t5")]
    for turn, ended in zip(waiting, (Ended.NEXT_WAITS, Ended.YES), strict=True):
        before = everything()
        assert finish(turn, status=TurnStatus.STOPPED, parts=[], usage=UsageFigures()) == ended
        assert changed(before) == ({("Turn", turn.pk), ("Thread", thread)}, Counter(TokenUsage=1))
    assert finish(waiting[0], status=TurnStatus.STOPPED) == Ended.NO


def test_a_cancel_that_comes_when_its_turn_was_begun_ends_nothing(asker: Scope, thread: uuid.UUID) -> None:
    live = begin(asker, thread, "t3")
    waiting = wait_behind(asker, thread, "t4")
    finish(live)
    assert promote(thread, "p")
    assert finish(waiting, status=TurnStatus.STOPPED) == Ended.NO
    assert turn_of(thread, "t4").status == "streaming"


def test_the_end_of_a_chats_turn_changes_no_other_turn(asker: Scope, thread: uuid.UUID) -> None:
    _, turn, _ = (chat_turn(asker, name) for name in "abc")
    before = everything()
    for epoch, ended in ((9, Ended.NO), (turn.epoch, Ended.YES), (turn.epoch, Ended.NO)):
        Turn.objects.filter(pk=turn.pk).update(epoch=epoch)
        assert finish(turn) == ended
        Turn.objects.filter(pk=turn.pk).update(epoch=turn.epoch)
    rows = {("Turn", turn.pk), ("CopilotChat", turn.copilot_chat_id)}
    assert changed(before) == (rows, Counter(TokenUsage=1))


@pytest.mark.parametrize(
    ("status", "parts", "answers"),
    [("completed", [], 1), ("stopped", ANSWER, 1), ("stopped", [], 0), ("failed", [], 0)],
)
def test_a_chat_gets_the_answer_of_a_turn_that_said_something_or_is_complete(
    asker: Scope, status: str, parts: list[dict[str, Any]], answers: int
) -> None:
    turn = chat_turn(asker, "a")
    finish(turn, status=TurnStatus(status), parts=parts)
    written = [one["role"] for one in CopilotChat.objects.get().messages]
    assert written == ["user", *["assistant"] * answers]


def test_the_mirror_holds_what_an_answer_took_where_that_is_known(asker: Scope) -> None:
    for usage, tokens in ((USAGE, (7, 3)), (UsageFigures(), (None, None))):
        turn = chat_turn(asker, "a")
        finish(turn, usage=usage)
        row = CopilotMessage.objects.get(chat=turn.copilot_chat_id, role="assistant")
        assert (row.tokens_in, row.tokens_out) == tokens


def test_the_turn_of_a_chat_that_was_deleted_ends_nothing(asker: Scope) -> None:
    turn = chat_turn(asker, "a")
    CopilotChat.objects.all().delete()
    assert finish(turn) == Ended.NO


def test_a_turn_that_parks_learns_of_a_stop_that_was_asked_for_before(asker: Scope, thread: uuid.UUID) -> None:
    for turn in (begin(asker, thread, "t3"), chat_turn(asker, "a")):
        assert finish(turn, status=TurnStatus.AWAITING_APPROVAL) == Ended.PARKED
        Turn.objects.filter(pk=turn.pk).update(status="streaming", stop_requested_at="2026-01-01T00:00Z")
        assert finish(turn, status=TurnStatus.AWAITING_APPROVAL) == Ended.STOP_WANTED


# Their usage


@pytest.fixture
def refused() -> str:
    """The usage of this test's turns cannot be written, unless it is missing."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE token_usage ADD CONSTRAINT no_luck CHECK (total_tokens <> 11)")
    return "11"


ODD = UsageFigures(source="reported", total_tokens=11)


@pytest.mark.usefixtures("refused")
def test_usage_that_cannot_be_written_is_missing_for_its_own_turn_and_answer(asker: Scope, thread: uuid.UUID) -> None:
    turn, of_chat = begin(asker, thread, "t3"), chat_turn(asker, "a")
    for one in (turn, of_chat):
        before = everything()
        assert finish(one, usage=ODD)
        assert changed(before)[1] == Counter(TokenUsage=1)
    found = [TokenUsage.objects.get(turn=one.pk) for one in (turn, of_chat)]
    assert [(one.source, one.message_id) for one in found] == [
        ("missing", turn.assistant_message_id),
        ("missing", None),
    ]
    assert (found[0].thread_id, found[1].copilot_chat_id) == (thread, of_chat.copilot_chat_id)


@pytest.mark.usefixtures("refused")
def test_what_a_turn_had_used_when_it_parked_stays_where_the_rest_cannot_be_written(
    asker: Scope, thread: uuid.UUID, caplog: pytest.LogCaptureFixture
) -> None:
    turn = begin(asker, thread, "t3")
    assert finish(turn, status=TurnStatus.AWAITING_APPROVAL) == Ended.PARKED
    assert read_usage(turn.pk) == USAGE
    assert read_usage(begin(asker, open_thread(asker, "new")).pk) is None
    assert finish(turn, usage=ODD)
    assert read_usage(turn.pk) == USAGE
    assert "has no usage row" not in caplog.text


def test_a_database_that_fails_for_a_moment_costs_no_usage(asker: Scope, thread: uuid.UUID) -> None:
    turn = begin(asker, thread, "t3")
    with connection.cursor() as cursor:
        cursor.execute("CREATE SEQUENCE tries")
        cursor.execute(
            """
            CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF nextval('tries') = 1 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END IF;
                RETURN NEW;
            END $$
            """
        )
        cursor.execute(
            "CREATE TRIGGER fail_once BEFORE INSERT ON token_usage FOR EACH ROW EXECUTE FUNCTION fail_once()"
        )
    with pytest.raises(OperationalError):
        finish(turn)
    assert finish(turn)
    assert read_usage(turn.pk) == USAGE
