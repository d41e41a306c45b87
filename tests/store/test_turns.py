from __future__ import annotations

import traceback
import uuid
from typing import Any

import pytest
from django.db import IntegrityError, connection

from chat.errors import ThreadBusy, ThreadNotFound, TurnConflict
from chat.models import Message, Role, TokenUsage, Turn, TurnStatus
from chat.store.begin import NewUserMessage, begin_turn, persist_assistant_shell
from chat.store.finalize import Ended, finalize_assistant_turn
from chat.store.message_pages import read_messages
from chat.store.messages import append_message, persist_user_turn
from chat.store.scope import Scope
from chat.store.threads import delete_thread, open_thread
from chat.store.turns import StoredTurn, live_turn, request_stop
from chat.store.usage import UsageFigures
from chat.testing.invariants import assert_invariants
from tests.factories import ThreadFactory

pytestmark = pytest.mark.django_db

ANSWER = [{"type": "step-start"}, {"type": "text", "text": "Hi.", "state": "done"}]
USAGE = UsageFigures(source="reported", prompt_tokens=7, completion_tokens=3, total_tokens=10, cost_micros=12)


def text(words: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": words}]


def begin(asker: Scope, thread: uuid.UUID, turn_id: str = "t1", words: str = "Hello", **kwargs: Any) -> StoredTurn:
    return begin_turn(
        asker,
        thread,
        turn_id,
        fingerprint=kwargs.pop("fingerprint", words),
        request={},
        user_message=NewUserMessage(parts=text(words), client_id=kwargs.pop("client_id", None)),
        **kwargs,
    )


def finish(turn: StoredTurn, **kwargs: Any) -> Ended:
    given: dict[str, Any] = {"status": TurnStatus.COMPLETED, "parts": ANSWER, "metadata": {}, "usage": USAGE}
    return finalize_assistant_turn(turn, **(given | kwargs))


@pytest.fixture
def thread(asker: Scope) -> uuid.UUID:
    return open_thread(asker, "conversation")


def test_beginning_a_turn_writes_the_user_row_then_an_empty_shell(asker: Scope, thread: uuid.UUID) -> None:
    turn = begin(asker, thread, client_id="mine", title="Hello")

    user, shell = Message.objects.order_by("id")
    assert turn.created
    assert (turn.user_message_id, turn.assistant_message_id) == (user.pk, shell.pk)
    assert (user.role, user.parts, user.author_id, user.client_id) == ("user", text("Hello"), asker.user_id, "mine")
    assert (shell.role, shell.parts, shell.author_id) == ("assistant", [], None)
    assert Turn.objects.get().status == "streaming"
    assert user.thread.title == "Hello"


def test_beginning_a_turn_is_one_statement(asker: Scope, thread: uuid.UUID, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(3):  # with the savepoint that a test's transaction asks for
        begin(asker, thread)


def test_ending_a_turn_is_one_statement(asker: Scope, thread: uuid.UUID, django_assert_num_queries: Any) -> None:
    turn = begin(asker, thread)
    with django_assert_num_queries(3):
        finish(turn)


def test_the_same_turn_id_and_payload_is_the_same_turn(asker: Scope, thread: uuid.UUID) -> None:
    first = begin(asker, thread)
    again = begin(asker, thread)
    finish(first)
    after_the_end = begin(asker, thread)

    assert not again.created
    assert not after_the_end.created
    assert first.pk == again.pk == after_the_end.pk
    assert again.user_message_id == first.user_message_id
    assert again.assistant_message_id == first.assistant_message_id
    assert Message.objects.count() == 2
    assert_invariants()


def test_the_same_turn_id_with_another_payload_is_a_conflict_and_writes_nothing(
    asker: Scope, thread: uuid.UUID
) -> None:
    begin(asker, thread, words="Hello")
    with pytest.raises(TurnConflict):
        begin(asker, thread, words="Goodbye")
    assert Message.objects.get(role=Role.USER).parts == text("Hello")


def test_a_second_turn_while_one_is_live_is_refused_with_the_cursor_of_the_first(
    asker: Scope, thread: uuid.UUID
) -> None:
    first = begin(asker, thread, "t1")
    with pytest.raises(ThreadBusy) as refused:
        begin(asker, thread, "t2")

    assert refused.value.details == {
        "turn": first.pk,
        "turn_id": "t1",
        "status": "streaming",
        "cursor": f"{first.pk}-0",
    }
    assert Message.objects.count() == 2
    assert Turn.objects.count() == 1


def test_a_turn_needs_a_thread_that_its_asker_may_see(asker: Scope, thread: uuid.UUID) -> None:
    with pytest.raises(ThreadNotFound):
        begin(asker, uuid.uuid4())
    with pytest.raises(ThreadNotFound):
        begin(asker, ThreadFactory.create().pk)
    delete_thread(asker, thread)
    with pytest.raises(ThreadNotFound):
        begin(asker, thread)
    assert not Message.objects.exists()


def test_finalising_writes_answer_status_and_usage(asker: Scope, thread: uuid.UUID) -> None:
    turn = begin(asker, thread)
    begun = Message.objects.get(role=Role.ASSISTANT).updated_at
    assert finish(turn, metadata={"status": "completed"}, finish_reason="stop")

    shell = Message.objects.get(role=Role.ASSISTANT)
    assert shell.updated_at > begun
    usage = TokenUsage.objects.get()
    stored = Turn.objects.get()
    assert (shell.parts, shell.metadata) == (ANSWER, {"status": "completed"})
    assert (stored.status, stored.finish_reason) == ("completed", "stop")
    assert stored.finished_at is not None
    assert (usage.turn_id, usage.message_id, usage.thread_id, usage.user_id) == (
        turn.pk,
        shell.pk,
        thread,
        asker.user_id,
    )
    assert (usage.total_tokens, usage.cost_micros, usage.source) == (10, 12, "reported")
    assert_invariants()


def test_a_second_finalise_changes_nothing(asker: Scope, thread: uuid.UUID) -> None:
    turn = begin(asker, thread)
    finish(turn)
    before = (
        list(Message.objects.order_by("id").values()),
        list(Turn.objects.values()),
        list(TokenUsage.objects.values()),
    )

    assert not finish(turn, status=TurnStatus.STOPPED, parts=[], usage=UsageFigures())
    after = (
        list(Message.objects.order_by("id").values()),
        list(Turn.objects.values()),
        list(TokenUsage.objects.values()),
    )
    assert before == after


def test_a_finalise_of_an_older_epoch_changes_nothing(asker: Scope, thread: uuid.UUID) -> None:
    turn = begin(asker, thread)
    Turn.objects.update(epoch=turn.epoch + 1)

    assert not finish(turn)
    assert Turn.objects.get().status == "streaming"
    assert Message.objects.get(role=Role.ASSISTANT).parts == []
    assert not TokenUsage.objects.exists()


def test_a_usage_row_that_cannot_be_written_does_not_lose_the_answer(
    asker: Scope, thread: uuid.UUID, caplog: pytest.LogCaptureFixture
) -> None:
    turn = begin(asker, thread)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE token_usage ADD CONSTRAINT no_luck CHECK (total_tokens <> 10)")

    assert finish(turn)
    assert Message.objects.get(role=Role.ASSISTANT).parts == ANSWER
    assert Turn.objects.get().status == "completed"
    usage = TokenUsage.objects.get()
    assert (usage.source, usage.total_tokens) == ("missing", 0)
    assert "could not be written" in caplog.text
    assert "Hi." not in caplog.text
    assert_invariants()


def test_even_without_a_usage_table_the_answer_is_kept(
    asker: Scope, thread: uuid.UUID, caplog: pytest.LogCaptureFixture
) -> None:
    turn = begin(asker, thread)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE token_usage RENAME TO gone")

    assert finish(turn)
    assert Message.objects.get(role=Role.ASSISTANT).parts == ANSWER
    assert "has no usage row" in caplog.text


def test_an_answer_that_cannot_be_written_is_not_taken_for_its_usage_and_says_nothing_of_itself(
    asker: Scope, thread: uuid.UUID, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE chat_messages ADD CONSTRAINT no_luck CHECK (parts::text !~ 'Hi') NOT VALID")
    turn = begin(asker, thread)

    with pytest.raises(IntegrityError, match="no_luck") as refused:
        finish(turn)
    assert "Hi." not in "".join(traceback.format_exception(refused.value))
    assert caplog.text == ""
    assert Turn.objects.get().status == "streaming"


def test_usage_outlives_the_thread_it_paid_for(asker: Scope, thread: uuid.UUID) -> None:
    finish(begin(asker, thread))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM chat_threads")

    assert not Message.objects.exists()
    assert not Turn.objects.exists()
    usage = TokenUsage.objects.get()
    assert (usage.turn_id, usage.message_id, usage.thread_id, usage.total_tokens) == (None, None, None, 10)


def test_deleting_a_user_takes_the_threads_and_leaves_the_usage(asker: Scope, thread: uuid.UUID, user: Any) -> None:
    finish(begin(asker, thread))
    user.delete()

    assert not Message.objects.exists()
    assert TokenUsage.objects.get().user_id is None


def test_the_next_turn_may_begin_when_the_first_has_ended(asker: Scope, thread: uuid.UUID) -> None:
    finish(begin(asker, thread, "t1"))
    assert begin(asker, thread, "t2").created


def test_a_stop_names_the_live_turn_once_one_is_live(asker: Scope, thread: uuid.UUID) -> None:
    assert request_stop(asker, thread) is None
    turn = begin(asker, thread)
    assert request_stop(asker, thread) == turn.pk
    assert request_stop(asker, thread) == turn.pk
    finish(turn, status=TurnStatus.STOPPED)
    assert request_stop(asker, thread) is None
    assert live_turn(asker, thread) is None


def test_the_parts_of_a_turn_written_by_hand_come_together(asker: Scope, thread: uuid.UUID) -> None:
    user = persist_user_turn(asker, thread, "t1", text("Hello"), client_id="mine")
    again = persist_user_turn(asker, thread, "t1", text("Other"))
    turn = persist_assistant_shell(asker, thread, "t1")
    same = persist_assistant_shell(asker, thread, "t1")

    assert user.created
    assert not again.created
    assert user.id == again.id == turn.user_message_id
    assert turn.pk == same.pk
    assert Message.objects.get(role=Role.USER).parts == text("Hello")
    assert finish(turn)
    assert_invariants()


def test_a_missing_thread_is_an_error_to_every_writer(asker: Scope) -> None:
    nowhere = uuid.uuid4()
    with pytest.raises(ThreadNotFound):
        persist_user_turn(asker, nowhere, "t1", text("Hello"))
    with pytest.raises(ThreadNotFound):
        persist_assistant_shell(asker, nowhere, "t1")
    with pytest.raises(ThreadNotFound):
        append_message(asker, nowhere, "user", text("Hello"))
    with pytest.raises(ThreadNotFound):
        read_messages(asker, nowhere)


def test_the_answer_that_is_still_written_is_not_in_the_history(asker: Scope, thread: uuid.UUID) -> None:
    turn = begin(asker, thread)
    assert [message.role for message in read_messages(asker, thread)] == ["user"]
    finish(turn)
    assert [message.role for message in read_messages(asker, thread)] == ["user", "assistant"]


def test_a_deleted_message_is_in_no_page(asker: Scope, thread: uuid.UUID) -> None:
    finish(begin(asker, thread))
    Message.objects.filter(role=Role.USER).update(deleted_at="2026-01-01T00:00:00Z")
    assert [message.role for message in read_messages(asker, thread)] == ["assistant"]
