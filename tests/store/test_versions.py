"""Versions in the store: which one a name means, and what a restore brings back."""

from __future__ import annotations

import uuid
from collections import Counter

import pytest

from chat.errors import MessageNotFound, ThreadBusy
from chat.models import Message, Turn, TurnStatus
from chat.store.messages import append_message
from chat.store.scope import Scope
from chat.store.threads import open_thread
from chat.store.versions import answer_of, current_version, message_of, read_versions, restore, versions_of
from tests.factories import MessageFactory
from tests.store.conversations import GONE, another_answer, changed, edit, everything, not_current, turn_of, wait_behind
from tests.store.conversations import message_of as row_of
from tests.store.test_turns import begin, finish, text

pytestmark = pytest.mark.django_db


def current(thread: uuid.UUID) -> list[tuple[str, str]]:
    """The current history, as turns and roles."""
    rows = Message.objects.filter(thread=thread, is_current=True, deleted_at=None).order_by("pk")
    return [(row.turn_id or "", row.role[0]) for row in rows]


# Names


def test_a_name_means_the_current_version_in_its_thread(asker: Scope, thread: uuid.UUID, theirs: uuid.UUID) -> None:
    question, answer = row_of(thread, "t2", "user"), row_of(thread, "t2")
    found = current_version(asker, thread, "m2")
    turn = turn_of(thread, "t2")
    assert (found.id, found.role, found.parent, found.first_version) == (
        question.pk,
        "user",
        row_of(thread, "t1").pk,
        question.pk,
    )
    assert (found.turn, found.turn_id, found.trigger) == (turn.pk, "t2", "submit")
    behind = answer_of(asker, found)
    assert behind
    assert (behind.id, behind.turn) == (answer.pk, turn.pk)
    finish(edit(asker, thread, "m2", "t3"))
    for name in ("m2", str(question.pk), str(row_of(thread, "t3", "user").pk)):
        again = current_version(asker, thread, name)
        assert (again.id, again.first_version) == (row_of(thread, "t3", "user").pk, question.pk), name
    with pytest.raises(MessageNotFound):
        current_version(asker, thread, str(answer.pk))
    with pytest.raises(MessageNotFound):
        current_version(asker, theirs, "m2")


def test_the_last_message_of_a_thread_is_its_last_current_one(asker: Scope, thread: uuid.UUID) -> None:
    not_current(thread)
    assert current_version(asker, thread, None).id == row_of(thread, "t2").pk
    appended = append_message(asker, thread, "user", text("of no turn"))
    found = current_version(asker, thread, None)
    assert (found.id, found.turn) == (appended.id, None)
    assert answer_of(asker, found) is None
    append_message(asker, thread, "user", text("and another"))
    assert answer_of(asker, found) is None, "what follows is no answer"


def test_an_id_goes_before_a_clients_name_and_of_two_messages_of_a_name_the_newer_one_is_meant(
    asker: Scope, thread: uuid.UUID
) -> None:
    first = row_of(thread, "t1", "user")
    begin(asker, thread, "t3", client_id=str(first.pk))
    assert current_version(asker, thread, str(first.pk)).id == first.pk
    Message.objects.filter(pk=first.pk).update(client_id="m2", metadata={"moved": "to the end of its table"})
    assert current_version(asker, thread, "m2").id == row_of(thread, "t2", "user").pk
    far = MessageFactory.create(pk=10**17, thread_id=thread)
    assert current_version(asker, thread, str(far.pk)).id == far.pk
    for name in ("9" * 19, "9" * 40, "x", ""):
        with pytest.raises(MessageNotFound):
            current_version(asker, thread, name)


def test_what_a_turn_has_made_is_found_by_its_name(asker: Scope, thread: uuid.UUID, theirs: uuid.UUID) -> None:
    for role in ("user", "assistant"):
        found = message_of(asker, thread, "t1", role)
        assert found
        assert found.id == row_of(thread, "t1", role).pk
    assert message_of(asker, thread, "unknown", "user") is None
    assert message_of(asker, theirs, "t1", "user") is None


# Versions


def test_versions_are_told_in_their_order_each_with_its_turn(
    asker: Scope, thread: uuid.UUID, theirs: uuid.UUID
) -> None:
    first, question = row_of(thread, "t2"), row_of(thread, "t2", "user")
    for turn_id, status in (("t3", TurnStatus.COMPLETED), ("t4", TurnStatus.FAILED)):
        answered_again(asker, thread, turn_id, status)
    restore(asker, first.pk)  # moves to the end of its table
    answers = [first.pk, row_of(thread, "t3").pk, row_of(thread, "t4").pk]
    for pk in answers:
        found = read_versions(asker, pk)
        assert [(one.message.id, one.is_current, one.turn, one.status) for one in found] == [
            (answers[0], True, turn_of(thread, "t2").pk, "completed"),
            (answers[1], False, turn_of(thread, "t3").pk, "completed"),
            (answers[2], False, turn_of(thread, "t4").pk, "failed"),
        ]
    assert versions_of([answers[1], question.pk]) == {answers[1]: answers[:2]}, "one was never current"
    Message.objects.filter(pk=answers[1]).update(**GONE)
    assert [one.message.id for one in read_versions(asker, first.pk)] == [answers[0], answers[2]]
    assert versions_of(answers) == {}
    with pytest.raises(MessageNotFound):
        read_versions(asker, row_of(theirs, "t2").pk)


def answered_again(asker: Scope, thread: uuid.UUID, turn_id: str, status: TurnStatus) -> None:
    finish(another_answer(asker, thread, "m2", turn_id), status=status)


# Restores


def test_a_restore_changes_what_is_current_and_nothing_else(asker: Scope, thread: uuid.UUID) -> None:
    finish(edit(asker, thread, "m2", "t3"))
    Turn.objects.filter(thread=open_thread(asker, "before"), turn_id="t2").update(status="awaiting_approval")
    not_current(thread)
    before = everything()
    assert restore(asker, row_of(thread, "t2", "user").pk) == thread
    rows = {("Message", row_of(thread, turn, role).pk) for turn in ("t2", "t3") for role in ("user", "assistant")}
    assert changed(before) == ({*rows, ("Thread", thread)}, Counter())
    assert current(thread) == [("t1", "u"), ("t1", "a"), ("t2", "u"), ("t2", "a")]


def test_with_a_question_comes_the_answer_that_was_current_last(asker: Scope, thread: uuid.UUID) -> None:
    """Neither one that came to nothing, nor one that was deleted; of two at once, the newer."""
    question = row_of(thread, "t2", "user")
    first = row_of(thread, "t2")
    for turn_id, status in (("t3", TurnStatus.COMPLETED), ("t4", TurnStatus.COMPLETED), ("t5", TurnStatus.FAILED)):
        answered_again(asker, thread, turn_id, status)
    restore(asker, row_of(thread, "t3").pk)
    finish(edit(asker, thread, "m1", "t6"))
    path = [("t1", "u"), ("t1", "a"), ("t2", "u")]

    def restored() -> list[tuple[str, str]]:
        restore(asker, question.pk)
        found = current(thread)
        restore(asker, row_of(thread, "t6", "user").pk)
        return found

    assert restored() == [*path, ("t3", "a")]
    Message.objects.filter(thread=thread, turn_id="t3").update(**GONE)
    assert restored() == [*path, ("t4", "a")]
    moment = row_of(thread, "t4").current_at
    Message.objects.filter(pk=first.pk).update(current_at=moment)
    Message.objects.filter(thread=thread, turn_id="t4").update(current_at=moment)
    assert restored() == [*path, ("t4", "a")]


def test_what_is_deleted_was_never_current_or_is_not_there_is_not_restored(asker: Scope, thread: uuid.UUID) -> None:
    answered_again(asker, thread, "t3", TurnStatus.FAILED)
    _, deleted = not_current(thread)
    before = everything()
    for pk in (10**9, deleted.pk, row_of(thread, "t3").pk):
        with pytest.raises(MessageNotFound):
            restore(asker, pk)
    assert changed(before) == (set(), Counter())


def test_a_restore_is_refused_for_the_turn_that_was_there_first(asker: Scope, thread: uuid.UUID) -> None:
    live = begin(asker, thread, "t3")
    waiting = wait_behind(asker, thread, "t4")
    Turn.objects.filter(pk=live.pk).update(model="it moves to the end of its table")
    for first in (live, waiting):
        with pytest.raises(ThreadBusy) as refused:
            restore(asker, row_of(thread, "t1").pk)
        assert refused.value.details["turn"] == first.pk
        finish(live)


def test_an_edit_whose_message_was_appended_before_takes_its_place(asker: Scope, thread: uuid.UUID) -> None:
    appended = append_message(asker, thread, "user", text("edited"), turn_id="t9")
    original, before = row_of(thread, "t2", "user"), row_of(thread, "t1")
    turn = edit(asker, thread, "m2", "t9")
    assert turn.user_message_id == appended.id
    finish(turn)
    row = row_of(thread, "t9", "user")
    assert (row.parent_id, row.version_of_id, row.metadata) == (before.pk, original.pk, {})
    assert current(thread)[-2:] == [("t9", "u"), ("t9", "a")]
    assert ("t2", "u") not in current(thread)
    restore(asker, original.pk)
    assert current(thread)[-2:] == [("t2", "u"), ("t2", "a")]
    restore(asker, row.pk)
    assert current(thread)[-2:] == [("t9", "u"), ("t9", "a")]
