"""Who changes a thread takes its lock first, and goes on with what was committed under it: not with what the statement
saw when it began to wait.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chat.errors import ThreadBusy
from chat.models import Message, Turn
from chat.store.finalize import Ended
from chat.store.messages import append_message
from chat.store.queue import may_go_on, promote
from chat.store.scope import Scope
from chat.store.sql import rows
from chat.store.threads import open_thread
from chat.store.turns import StoredTurn
from chat.store.versions import restore
from chat.testing.invariants import assert_invariants
from tests.races import behind, while_held
from tests.store.conversations import another_answer, edit, wait_behind
from tests.store.test_turns import begin, finish, text

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def thread(asker: Scope) -> uuid.UUID:
    return open_thread(asker, "conversation")


def parent_of(message: Any) -> int | None:
    return Message.objects.get(pk=message).parent_id


def lock(thread: uuid.UUID) -> None:
    rows("SELECT FROM chat_threads WHERE id = %(thread)s FOR NO KEY UPDATE", thread=thread)


def test_a_send_that_waited_follows_what_was_appended_meanwhile(asker: Scope, thread: uuid.UUID) -> None:
    first, turn = behind(
        lambda: append_message(asker, thread, "user", text("first")), lambda: begin(asker, thread, words="second")
    )
    assert parent_of(turn.user_message_id) == first.id


def test_an_append_that_waited_follows_what_was_sent_meanwhile(asker: Scope, thread: uuid.UUID) -> None:
    turn, later = behind(lambda: begin(asker, thread), lambda: append_message(asker, thread, "user", text("later")))
    assert parent_of(later.id) == turn.assistant_message_id


@pytest.mark.parametrize("send", [True, False], ids=["a send", "an append"])
def test_what_waited_for_a_restore_follows_what_is_current_since(asker: Scope, thread: uuid.UUID, send: bool) -> None:
    first = begin(asker, thread, "t1", client_id="m1")
    finish(first)
    finish(edit(asker, thread, "m1", "t2"))
    question = first.user_message_id
    assert isinstance(question, int)

    def ours() -> Any:
        if send:
            return begin(asker, thread, "t3").user_message_id
        return append_message(asker, thread, "user", text("later")).id

    _, message = behind(lambda: restore(asker, question), ours)
    assert parent_of(message) == first.assistant_message_id
    assert_invariants()


def test_a_restore_that_waited_for_a_send_is_refused(asker: Scope, thread: uuid.UUID) -> None:
    first = begin(asker, thread, "t1", client_id="m1")
    finish(first)
    finish(edit(asker, thread, "m1", "t2"))
    turn, refused = behind(lambda: begin(asker, thread, "t3"), lambda: restore(asker, first.user_message_id))  # type: ignore[arg-type]
    assert isinstance(refused, ThreadBusy)
    assert refused.details["turn"] == turn.pk


def test_another_answer_that_waited_replaces_what_was_appended_meanwhile(asker: Scope, thread: uuid.UUID) -> None:
    finish(begin(asker, thread, "t1", client_id="m1"))
    turn = another_answer(asker, thread, "m1", "t2")
    behind(lambda: append_message(asker, thread, "user", text("later")), lambda: finish(turn))
    assert list(Message.objects.filter(is_current=True).values_list("id", flat=True).order_by("id"))[1:] == [
        turn.assistant_message_id
    ]
    assert_invariants()


def test_what_would_wait_for_a_turn_that_ends_is_told_that_there_is_nothing_to_wait_for(
    asker: Scope, thread: uuid.UUID
) -> None:
    turn = begin(asker, thread)
    ended, waiting = behind(lambda: finish(turn), lambda: wait_behind(asker, thread, "t2"))
    assert (ended, waiting) == (Ended.YES, None)
    assert not Turn.objects.filter(status="queued").exists()


def test_whoever_looks_after_a_queue_sees_the_end_that_it_waited_for(asker: Scope, thread: uuid.UUID) -> None:
    turn = begin(asker, thread)
    second, third = wait_behind(asker, thread, "t2"), wait_behind(asker, thread, "t3")
    assert behind(lambda: finish(turn), lambda: may_go_on(thread)) == (Ended.NEXT_WAITS, True)
    begun = promote(thread, "p")
    assert begun
    _, next_one = behind(lambda: finish(begun), lambda: promote(thread, "p"))
    assert (begun.pk, next_one.pk) == (second.pk, third.pk)


def test_an_end_takes_the_lock_of_its_thread_before_it_touches_its_turn(asker: Scope, thread: uuid.UUID) -> None:
    """A send holds that lock while it waits for the end of this turn in the index of busy ones."""
    turn = begin(asker, thread)
    free = "SELECT FROM chat_turns WHERE id = %(turn)s FOR UPDATE NOWAIT"
    _, ended = behind(lambda: lock(thread), lambda: finish(turn), lambda: rows(free, turn=turn.pk))
    assert ended == Ended.YES


def test_what_happens_in_one_thread_waits_for_no_other(asker: Scope, thread: uuid.UUID) -> None:
    other = open_thread(asker, "held")

    def ours() -> list[Any]:
        first: StoredTurn = begin(asker, thread, "t1", client_id="m1")
        append_message(asker, thread, "user", text("late"), turn_id="t9")
        wait_behind(asker, thread, "t2")
        done: list[Any] = [may_go_on(thread), finish(first), may_go_on(thread)]
        second = promote(thread, "p")
        assert second
        done += [finish(second), finish(another_answer(asker, thread, "t2", "t3"))]
        done += [finish(edit(asker, thread, "m1", "t4")), restore(asker, first.user_message_id)]  # type: ignore[arg-type]
        return done

    _, done = while_held(lambda: lock(other), ours)  # type: ignore[arg-type, return-value]
    assert done == [False, Ended.NEXT_WAITS, True, Ended.YES, Ended.YES, Ended.YES, thread]
