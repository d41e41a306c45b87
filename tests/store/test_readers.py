"""What is read of a turn, a thread's history and its pages, beside others whose names are the same."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import AbstractUser

from chat.access.scopes import scope_of
from chat.errors import ThreadNotFound, TurnNotFound
from chat.models import CopilotChat, Message, TokenUsage, ToolApproval, Turn, TurnStatus
from chat.store.begin import persist_assistant_shell
from chat.store.history import read_answer, read_history
from chat.store.message_pages import messages_as_json, read_messages
from chat.store.messages import append_message
from chat.store.scope import Scope
from chat.store.thread_turns import last_turns, turns_missed, turns_since
from chat.store.threads import open_thread
from chat.store.turns import StoredTurn, busy_turn, last_position, live_turn, read_turn, request_stop, turn_of_answer
from chat.store.versions import current_version, restore
from tests.factories import ApprovalFactory, MessageFactory
from tests.store.conversations import (
    GONE,
    another_answer,
    changed,
    chat_turn,
    edit,
    everything,
    message_of,
    not_current,
    turn_of,
    wait_behind,
)
from tests.store.test_turns import ANSWER, begin, finish, text

pytestmark = pytest.mark.django_db


def park(asker: Scope, turn: StoredTurn) -> StoredTurn:
    """It waits for decisions on two calls."""
    asked = [{"id": name, "approval": name, "name": "mail", "kind": "approval", "input": {}} for name in ("c1", "c2")]
    finish(turn, status=TurnStatus.AWAITING_APPROVAL, asked=asked)
    return read_turn(asker, turn.pk)


# Turns


def test_a_turn_is_read_with_its_own_messages_and_calls(asker: Scope, thread: uuid.UUID, theirs: uuid.UUID) -> None:
    ApprovalFactory.create(turn=turn_of(thread, "t1"))
    parked = park(asker, begin(asker, thread, "t3"))
    ToolApproval.objects.filter(tool_call_id="c1").update(reason="it moves to the end of its table")
    found = read_turn(asker, parked.pk)
    assert [call["tool_call_id"] for call in found.approvals] == ["c1", "c2"]
    messages = (message_of(thread, "t3", "user").pk, message_of(thread, "t3").pk)
    assert (found.user_message_id, found.assistant_message_id) == messages
    assert (found.waiting, found.streaming, found.created) == (True, False, False)
    of_chat = chat_turn(asker, "a")
    assert read_turn(asker, of_chat.pk).copilot_chat_id == of_chat.copilot_chat_id
    with pytest.raises(TurnNotFound):
        read_turn(asker, turn_of(theirs, "t1").pk)


def test_a_live_turn_and_a_busy_one_are_found_in_their_own_conversation(asker: Scope, thread: uuid.UUID) -> None:
    begin(asker, open_thread(asker, "before"), "t3")
    assert (live_turn(asker, thread), busy_turn(asker, thread)) == (None, None)
    turn = begin(asker, thread, "t3")
    for find in (live_turn, busy_turn):
        found = find(asker, thread)
        assert found
        assert found.pk == turn.pk
    park(asker, turn)
    waiting = busy_turn(asker, thread)
    assert waiting
    assert (waiting.pk, live_turn(asker, thread)) == (turn.pk, None)


def test_a_stop_is_asked_of_the_turn_that_is_meant_and_of_no_other(
    asker: Scope, thread: uuid.UUID, theirs: uuid.UUID, other_user: AbstractUser
) -> None:
    others = [begin(asker, open_thread(asker, "before"), "t3"), chat_turn(asker, "a"), chat_turn(asker, "b")]
    turn, of_chat = begin(asker, thread, "t3"), chat_turn(asker, "c")
    somebody = scope_of(other_user)
    begin(somebody, theirs, "t3")
    before = everything()
    assert request_stop(asker, thread, only=others[0].pk) is None
    assert request_stop(asker, theirs) is None
    assert request_stop(asker, uuid.uuid4()) is None
    assert request_stop(somebody, of_chat.conversation) is None
    assert request_stop(somebody, thread) is None
    assert changed(before) == (set(), Counter())
    assert request_stop(asker, thread, only=turn.pk) == turn.pk
    assert request_stop(asker, of_chat.conversation) == of_chat.pk
    assert changed(before)[0] == {("Turn", turn.pk), ("Turn", of_chat.pk)}


def test_an_answers_id_leads_to_its_turn_and_no_other_name_does(asker: Scope, thread: uuid.UUID) -> None:
    answer = message_of(thread, "t2")
    found = turn_of_answer(asker, thread, str(answer.pk))
    assert found
    assert found.pk == turn_of(thread, "t2").pk
    eastern = str(answer.pk).translate({ord("0") + digit: 0x0660 + digit for digit in range(10)})
    others = [message_of(thread, "t2", "user").pk, message_of(open_thread(asker, "after"), "t2").pk]
    for name in (*map(str, others), eastern, "x", "", "9" * 19, "9" * 40):
        assert turn_of_answer(asker, thread, name) is None, name
    far = MessageFactory.create(pk=10**17, thread_id=thread, turn_id="t3", role="assistant")
    begun = turn_of_answer(asker, thread, str(far.pk))
    assert begun is None, "there is no such turn"
    begin(asker, thread, "t3")
    assert turn_of_answer(asker, thread, str(far.pk)) is not None
    Message.objects.filter(pk=answer.pk).update(**GONE)
    assert turn_of_answer(asker, thread, str(answer.pk)) is None


def test_the_last_position_is_behind_the_newest_turn_whose_answer_is_or_was_current(
    asker: Scope, thread: uuid.UUID, theirs: uuid.UUID
) -> None:
    for number, turn_id in ((3, "t1"), (5, "t2")):
        Turn.objects.filter(thread=thread, turn_id=turn_id).update(last_seq=number)
    assert last_position(asker, thread) == (turn_of(thread, "t2").pk, 5)
    assert last_position(asker, theirs) == (0, 0)
    assert last_position(asker, open_thread(asker, "new")) == (0, 0)
    wait = begin(asker, thread, "t3")
    answer = Message.objects.filter(pk=wait.assistant_message_id)
    for change in ({"is_current": False}, {"is_current": True, **GONE}):
        answer.update(**change)
        assert last_position(asker, thread) == (wait.pk, 0)
    current_at = answer.get().current_at
    answer.update(current_at=None)
    assert last_position(asker, thread) == (turn_of(thread, "t2").pk, 5), "which never took a place"
    answer.update(current_at=current_at)
    waiting = wait_behind(asker, thread, "t4")
    assert last_position(asker, thread) == (wait.pk, 0), "which has not begun"
    Turn.objects.filter(pk=waiting.pk).update(started_at=turn_of(thread, "t1").started_at)
    assert last_position(asker, thread) == (wait.pk, 0), "which began before"


def test_after_going_back_to_an_older_branch_nothing_of_the_other_was_missed(asker: Scope, thread: uuid.UUID) -> None:
    original = current_version(asker, thread, "m2")
    finish(edit(asker, thread, "m2", "e1"))
    for turn_id in ("b1", "b2"):
        finish(begin(asker, thread, turn_id))
    restore(asker, original.id)
    position, _ = last_position(asker, thread)
    assert [turn.turn_id for turn in turns_missed(thread, position)] == ["b2"], "the cursor's own"


def test_watchers_are_told_of_the_turns_of_their_threads_in_order(asker: Scope, thread: uuid.UUID) -> None:
    before, after = open_thread(asker, "before"), open_thread(asker, "after")
    old = begin(asker, thread, "t3")
    waiting = wait_behind(asker, thread, "t4")
    begin(asker, before, "t3")
    wait_behind(asker, before, "t4")
    last = turn_of(after, "t2").pk
    empty = open_thread(asker, "new")
    assert last_turns([thread, after, empty]) == {thread: waiting.pk, after: last, empty: 0}
    assert [turn.pk for turn in turns_since({thread: turn_of(thread, "t1").pk})] == [
        turn_of(thread, "t2").pk,
        old.pk,
        waiting.pk,
    ]
    watched = {after: turn_of(after, "t1").pk, thread: waiting.pk}
    over = turn_of(thread, "t2").pk
    Turn.objects.filter(pk=over).update(model="it moves to the end of its table")
    assert [turn.pk for turn in turns_since(watched, [over])] == sorted([over, last, old.pk, waiting.pk])


# Histories


def said(turn: StoredTurn, limit: int = 9) -> tuple[list[str], str]:
    """What the model is told of a turn: who said which message before it, and what is asked."""
    before, asked = read_history(turn, limit)
    return [one["id"] for one in before], asked["id"]


def test_the_history_of_a_turn_is_what_is_current_in_front_of_it_in_its_thread(asker: Scope, thread: uuid.UUID) -> None:
    rows = {
        (turn_id, role): str(message_of(thread, turn_id, role).pk)
        for turn_id in ("t1", "t2")
        for role in ("user", "assistant")
    }
    u1, a1, u2, a2 = rows.values()
    not_current(thread)
    begin(asker, open_thread(asker, "before"), "t3")
    turn = begin(asker, thread, "t3")
    append_message(asker, thread, "user", text("of no turn"))
    u3 = str(turn.user_message_id)
    assert said(turn) == ([u1, a1, u2, a2], u3)
    assert said(turn, 4) == ([u1, a1, u2, a2], u3)
    assert said(turn, 3) == ([a1, u2, a2], u3)
    assert said(turn, 1) == ([a2], u3)
    finish(turn)
    assert said(another_answer(asker, thread, "m2", "t4")) == ([u1, a1], u2)


def test_what_is_asked_is_the_turns_own_message_also_behind_others(asker: Scope, thread: uuid.UUID) -> None:
    early = append_message(asker, thread, "user", text("typed"), turn_id="t3")
    later = append_message(asker, thread, "user", text("of no turn"))
    turn = begin(asker, thread, "t3")
    history, asked = said(turn)
    assert (history[-1], asked) == (str(later.id), str(early.id))


def test_a_turn_that_answers_no_question_is_told_of_none(asker: Scope, thread: uuid.UUID) -> None:
    greeting = MessageFactory.create(thread_id=open_thread(asker, "new"), role="assistant")
    turn = persist_assistant_shell(asker, greeting.thread_id, "t1")
    before, asked = read_history(turn, 9)
    assert ([one["id"] for one in before], asked) == ([str(greeting.pk)], {"id": "", "role": "user", "parts": []})


def test_an_answer_is_read_as_it_is_stored_and_none_where_there_is_none(
    asker: Scope, thread: uuid.UUID, theirs: uuid.UUID
) -> None:
    turn = read_turn(asker, turn_of(thread, "t2").pk)
    Message.objects.filter(pk=turn.assistant_message_id).update(metadata={"status": "completed"})
    assert read_answer(asker, turn) == (ANSWER, {"status": "completed"})
    Message.objects.filter(pk=turn.assistant_message_id).update(metadata=["odd"])
    assert read_answer(asker, turn) == (ANSWER, {})
    begin(asker, thread, "t3")
    assert read_answer(asker, wait_behind(asker, thread, "t4")) == ([], {})


def test_a_chats_turn_is_told_what_was_said_before_it(asker: Scope) -> None:
    def element(name: str, role: str = "user") -> dict[str, str]:
        return {"id": name, "role": role, "content": name, "timestamp": "2026-01-01T00:00:00Z"}

    turn = chat_turn(asker, "a")
    history = [element(name) for name in ("m1", "m2", "m3")]
    chat = CopilotChat.objects.filter(pk=turn.copilot_chat_id)
    chat.update(messages=[*history, element("t3"), element("later")])
    assert said(turn) == (["m1", "m2", "m3"], "t3")
    chat.update(messages=[*history, element("t3")])
    assert said(turn, 2) == (["m2", "m3"], "t3")
    chat.update(messages=history)  # by an older program, without what was asked
    assert said(turn, 2) == (["m2", "m3"], "t3")
    assert read_answer(asker, turn) == ([], {})
    chat.update(messages=[{**element(str(turn.assistant_message_id), "assistant"), "metadata": {"status": "odd"}}])
    assert read_answer(asker, turn) == ([{"type": "text", "text": str(turn.assistant_message_id)}], {"status": "odd"})
    chat.update(messages=[{"id": str(turn.assistant_message_id), "role": "nobody"}])
    assert read_answer(asker, turn) == ([], {})


# Pages


def pages(asker: Scope, thread: uuid.UUID, **keys: Any) -> list[int]:
    """The ids of a page, which are the same in both ways of making it."""
    made = [message.id for message in read_messages(asker, thread, **keys)]
    told, _ = messages_as_json(asker, thread, **keys)
    assert [int(one["id"]) for one in orjson.loads(told)] == made
    return made


def test_a_page_is_made_of_the_current_messages_of_its_thread_from_the_last_on(asker: Scope, thread: uuid.UUID) -> None:
    u1, a1, u2, a2 = (
        message_of(thread, turn_id, role).pk for turn_id in ("t1", "t2") for role in ("user", "assistant")
    )
    not_current(thread)
    begin(asker, open_thread(asker, "before"), "t2x")
    assert pages(asker, thread) == [u1, a1, u2, a2]
    assert pages(asker, thread, before=u2) == [u1, a1]
    assert pages(asker, thread, limit=3) == [a1, u2, a2]
    following = [messages_as_json(asker, thread, limit=limit)[1] for limit in (1, 3, 4, 5)]
    assert following == [a2, a1, None, None]
    told = [one.usage and one.usage["total_tokens"] for one in read_messages(asker, thread)]
    assert told == [None, 10, None, 10]


def test_a_page_leaves_out_the_answer_that_is_being_written_and_what_it_is_to_replace(
    asker: Scope, thread: uuid.UUID
) -> None:
    u1, a1, u2, a2 = (
        message_of(thread, turn_id, role).pk for turn_id in ("t1", "t2") for role in ("user", "assistant")
    )
    for name, live in (("before", "t1x"), ("after", "t2x")):
        other = open_thread(asker, name)
        begin(asker, other, live)
        Turn.objects.filter(thread=other, turn_id=live).update(turn_id="t3")
        Turn.objects.filter(thread=other, turn_id="t2").update(status="failed")
    turn = begin(asker, thread, "t3")
    assert pages(asker, thread) == [u1, a1, u2, a2, turn.user_message_id]
    finish(turn)
    whole = [u1, a1, u2, a2, turn.user_message_id, turn.assistant_message_id]
    assert pages(asker, thread) == whole
    again = another_answer(asker, thread, "m2", "t4")
    assert pages(asker, thread) == [u1, a1, u2]
    park(asker, again)
    TokenUsage.objects.filter(turn=again.pk).delete()
    # What older clients may have written, and what was replaced before.
    MessageFactory.create(thread_id=thread, turn_id="t4", is_current=False)
    MessageFactory.create(thread_id=thread, role="assistant", is_current=False)
    assert pages(asker, thread) == [u1, a1, u2, again.assistant_message_id], "one that waits has no stream"
    assert pages(asker, thread, before=again.assistant_message_id) == [u1, a1, u2]
    assert pages(asker, thread, limit=2) == [u2, again.assistant_message_id]
    assert pages(asker, thread, limit=1) == [again.assistant_message_id]
    Message.objects.filter(pk=again.assistant_message_id).update(**GONE)
    assert pages(asker, thread) == [u1, a1, u2]
    finish(again, status=TurnStatus.FAILED)
    assert pages(asker, thread) == whole


def test_what_waits_in_other_threads_is_in_no_page_of_this_one(
    asker: Scope, thread: uuid.UUID, theirs: uuid.UUID, other_user: AbstractUser
) -> None:
    before, somebody = open_thread(asker, "before"), scope_of(other_user)
    park(asker, another_answer(asker, before, "m2", "t4"))
    park(somebody, another_answer(somebody, theirs, "m2", "t4"))
    turn = begin(asker, thread, "t3")
    park(asker, turn)
    whole = list(Message.objects.filter(thread=thread).order_by("pk").values_list("pk", flat=True))
    assert pages(asker, thread) == whole
    for page in (read_messages, messages_as_json):
        assert page(asker, open_thread(asker, "new")) in ([], ("[]", None))
        with pytest.raises(ThreadNotFound):
            page(asker, theirs)
