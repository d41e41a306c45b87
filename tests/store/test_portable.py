"""Threads as a whole, beside others: exported, taken back, and forked."""

from __future__ import annotations

import uuid
from itertools import islice
from typing import Any

import pytest

from chat.errors import MessageNotFound
from chat.models import Message, Thread
from chat.protocol.portable.conversation import Conversation
from chat.store.portable import fork_thread, own_threads, read_whole, write_conversation
from chat.store.scope import Scope
from chat.store.sql import rows
from tests.factories import MessageFactory, ThreadFactory, TurnFactory, UsageFactory

pytestmark = pytest.mark.django_db
PAST = "2026-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def _in_the_order_in_which_rows_lie() -> None:
    for index in ("enable_indexscan", "enable_bitmapscan"):
        rows(f"SET LOCAL {index} = off")


def made(asker: Scope, **keys: Any) -> Thread:
    thread: Thread = ThreadFactory.create(owner_id=asker.user_id, **keys)
    return thread


def said(thread: Thread, text: str, **keys: Any) -> Message:
    message: Message = MessageFactory.create(thread=thread, parts=[{"type": "text", "text": text}], **keys)
    return message


def laid_behind(table: str, pk: int) -> None:
    """The row lies behind those that were made after it."""
    rows(f"UPDATE {table} SET model = 'x' WHERE id = %(pk)s", pk=pk)


def test_own_threads_are_told_once_each_and_no_deleted_or_other_one(asker: Scope, other: Scope) -> None:
    ids = [uuid.UUID(int=number) for number in (2, 3, 4)]
    for pk in reversed(ids):
        made(asker, pk=pk)
    made(other)
    made(asker, deleted_at=PAST)
    assert list(islice(own_threads(asker), 9)) == ids


def test_an_export_holds_what_was_said_in_its_thread_in_order_and_what_was_used(asker: Scope) -> None:
    thread, beside = made(asker), made(asker)
    first, _ = (TurnFactory.create(thread=thread, turn_id=turn_id) for turn_id in "ab")
    TurnFactory.create(thread=thread, turn_id="busy", status="streaming")
    for turn_id in ("c", "loose"):
        TurnFactory.create(thread=beside, turn_id=turn_id)
    question = said(thread, "Hello", turn_id="a")
    answer = said(thread, "Hi", turn_id="a", role="assistant")
    loose = said(thread, "Anyone?", turn_id="loose")  # of a turn that another program wrote nowhere
    said(thread, "Wait", turn_id="busy")
    said(thread, "Oops", deleted_at=PAST)
    said(beside, "Beside")
    UsageFactory.create(turn=first, message=answer)
    laid_behind("chat_turns", first.pk)
    laid_behind("chat_messages", question.pk)
    whole = read_whole(asker, thread.pk)
    assert [turn["turn_id"] for turn in whole["turns"]] == ["a", "b"]
    told = [
        (int(message["id"]), message["usage"] and message["usage"]["total_tokens"]) for message in whole["messages"]
    ]
    assert told == [(question.pk, None), (answer.pk, 15), (loose.pk, None)]


def test_what_comes_back_to_its_owner_is_the_thread_it_was_and_a_copy_for_anybody_else(
    asker: Scope, other: Scope
) -> None:
    thread, _ = made(asker), made(asker)
    made(other)
    exported, foreign = Conversation(f"import:{thread.pk}", "Plans", []), Conversation("chatgpt:1", "Plans", [])
    assert write_conversation(asker, exported) == (thread.pk, False)
    copied, is_new = write_conversation(other, exported)
    assert (is_new, write_conversation(other, exported)) == (True, (copied, False))
    there = {scope.user_id: write_conversation(scope, foreign)[0] for scope in (asker, other)}
    for scope in (asker, other):
        assert write_conversation(scope, foreign) == (there[scope.user_id], False)


def test_a_fork_takes_the_version_that_is_named_and_keeps_who_said_what(asker: Scope, other: Scope) -> None:
    thread = made(asker, title="x" * 200, metadata={"team": 7})
    question = said(thread, "Hello", author_id=other.user_id)
    old = said(thread, "old", role="assistant", parent=question, is_current=False)
    more = said(thread, "More", parent=old, is_current=False)
    new = said(thread, "new", role="assistant", parent=question, version_of=old)
    failed = said(
        thread, "failed", role="assistant", parent=question, version_of=old, is_current=False, current_at=None
    )
    laid_behind("chat_messages", question.pk)
    for named, expected in (
        (more, [("Hello", other.user_id), ("old", None), ("More", asker.user_id)]),
        (old, [("Hello", other.user_id), ("old", None)]),
        (failed, [("Hello", other.user_id), ("new", None)]),  # nobody was ever shown it: the current one is meant
    ):
        forked = fork_thread(asker, thread.pk, str(named.pk))
        copied = Message.objects.filter(thread=forked["id"]).order_by("pk")
        assert [(one.parts[0]["text"], one.author_id) for one in copied] == expected
        assert [one.parent_id for one in copied] == [None, *(one.pk for one in copied)][:-1]
        last = str(new.pk if named is failed else named.pk)
        assert forked["metadata"] == {"team": 7, "forked_from": {"thread": str(thread.pk), "message": last}}
        assert forked["title"] == "Fork | " + "x" * 193


def test_a_fork_is_of_no_message_of_another_thread_and_of_none_that_was_deleted(asker: Scope, other: Scope) -> None:
    thread = made(asker)
    said(thread, "Hello")
    for one in (said(made(asker), "Beside"), said(made(other), "Secret"), said(thread, "Oops", deleted_at=PAST)):
        with pytest.raises(MessageNotFound):
            fork_thread(asker, thread.pk, str(one.pk))


def test_a_fork_does_not_wait_for_what_is_being_answered_elsewhere(asker: Scope) -> None:
    thread, beside = made(asker), made(asker)
    TurnFactory.create(thread=thread, turn_id="a")
    TurnFactory.create(thread=thread, turn_id="b", status="streaming")
    TurnFactory.create(thread=beside, turn_id="a", status="streaming")
    answer = said(thread, "Hi", turn_id="a", role="assistant")
    assert fork_thread(asker, thread.pk, str(answer.pk))["id"] not in (thread.pk, beside.pk)
