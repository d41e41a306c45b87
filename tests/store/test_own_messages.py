"""Messages that are appended and read in one thread beside others: each write and each look finds its own rows."""

from __future__ import annotations

import uuid
from collections import Counter

import pytest

from chat.errors import MessageNotFound, ThreadNotFound, TurnNotFound
from chat.models import Message, Role, TokenUsage
from chat.store.begin import persist_assistant_shell
from chat.store.messages import append_message, persist_user_turn, read_message, read_turn_message
from chat.store.scope import Scope
from chat.store.threads import open_thread
from tests.factories import MessageFactory, TurnFactory
from tests.store.conversations import (
    another_answer,
    changed,
    everything,
    message_of,
    not_current,
    turn_of,
)
from tests.store.test_turns import USAGE, begin, finish, text

pytestmark = pytest.mark.django_db


def test_what_is_appended_to_a_turn_that_has_it_comes_back_from_its_own_thread(asker: Scope, thread: uuid.UUID) -> None:
    before = everything()
    for role in ("user", "assistant"):
        appended = append_message(asker, thread, role, text("forged"), turn_id="t2")
        assert (appended.id, appended.created) == (message_of(thread, "t2", role).pk, False)
    assert changed(before) == (set(), Counter())


def test_what_is_appended_to_somebody_elses_thread_finds_nothing_there(asker: Scope, theirs: uuid.UUID) -> None:
    open_thread(asker, "ours")
    for role, error in (("user", ThreadNotFound), ("assistant", TurnNotFound)):
        with pytest.raises(error):
            append_message(asker, theirs, role, text("forged"), turn_id="t1")
    TurnFactory.create(thread_id=theirs, user_id=asker.user_id, turn_id="mine")
    MessageFactory.create(thread_id=theirs, turn_id="mine", role="assistant")
    with pytest.raises(ThreadNotFound):
        append_message(asker, theirs, "assistant", text("forged"), turn_id="mine")


def test_the_question_of_a_turn_that_has_none_is_the_one_that_it_answers(asker: Scope, thread: uuid.UUID) -> None:
    for one in (open_thread(asker, "before"), thread):
        finish(another_answer(asker, one, "m2", "t4"))
    asked = append_message(asker, thread, "user", text("once more"), turn_id="t4")
    assert (asked.id, asked.created) == (message_of(thread, "t2", "user").pk, False)
    finish(persist_assistant_shell(asker, thread, "t5"))  # behind an answer
    appended = append_message(asker, thread, "user", text("what was asked"), turn_id="t5")
    assert (appended.role, appended.created) == ("user", True)


def test_an_answer_is_appended_only_to_a_turn_of_that_name_in_that_thread(asker: Scope, thread: uuid.UUID) -> None:
    begin(asker, open_thread(asker, "before"), "t3")
    for turn_id in ("t3", "unknown"):
        with pytest.raises(TurnNotFound):
            append_message(asker, thread, "assistant", text("forged"), turn_id=turn_id)


def test_usage_is_appended_to_the_one_turn_that_has_lost_it(asker: Scope, thread: uuid.UUID) -> None:
    before, after = open_thread(asker, "before"), open_thread(asker, "after")
    TokenUsage.objects.filter(thread__in=[before, thread, after]).delete()
    append_message(asker, thread, "assistant", text("x"), turn_id="t2", usage=USAGE)
    usage = TokenUsage.objects.get(thread__in=[before, thread, after])
    assert (usage.turn_id, usage.message_id) == (turn_of(thread, "t2").pk, message_of(thread, "t2").pk)


def test_what_a_client_appended_gives_way_to_the_server_s_text_and_no_other_row_does(
    asker: Scope, thread: uuid.UUID
) -> None:
    early = append_message(asker, thread, "user", text("typed"), turn_id="t3")
    plain = append_message(asker, thread, "user", text("typed"))
    before = everything()
    kept = persist_user_turn(asker, thread, "t3", text("sent"), client_id="m3")
    persist_user_turn(asker, thread, "t3", text("sent again"), client_id="other")
    assert changed(before) == ({("Message", early.id), ("Thread", thread)}, Counter())
    row = Message.objects.get(pk=kept.id)
    assert (row.parts, row.client_id, row.metadata) == (text("sent"), "m3", {})
    assert Message.objects.get(pk=plain.id).metadata == {}


def test_a_message_is_read_with_its_usage_if_it_has_one_and_by_nobody_else(
    asker: Scope, thread: uuid.UUID, theirs: uuid.UUID
) -> None:
    question, answer = message_of(thread, "t2", "user"), message_of(thread, "t2")
    found = [read_message(asker, one.pk) for one in (question, answer)]
    assert [(one.id, one.usage and one.usage["total_tokens"], one.created) for one in found] == [
        (question.pk, None, False),
        (answer.pk, 10, False),
    ]
    for role, row in ((Role.USER, question), (Role.ASSISTANT, answer)):
        assert read_turn_message(asker, thread, "t2", role).id == row.pk
        with pytest.raises(MessageNotFound):
            read_turn_message(asker, theirs, "t2", role)
    deleted = not_current(thread)[1]
    for pk in (deleted.pk, message_of(theirs, "t2").pk):
        with pytest.raises(MessageNotFound):
            read_message(asker, pk)
