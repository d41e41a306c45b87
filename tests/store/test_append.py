from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest

from chat.errors import ThreadNotFound, TurnNotFound
from chat.models import Message, Role, TokenUsage
from chat.store.messages import StoredMessage, append_message
from chat.store.scope import Scope
from chat.store.threads import open_thread
from chat.store.usage import UsageFigures
from chat.testing.invariants import assert_invariants
from tests.factories import ThreadFactory, TurnFactory
from tests.store.test_turns import ANSWER, begin, finish, text

pytestmark = pytest.mark.django_db
CLAIM = UsageFigures(source="reported", prompt_tokens=1, total_tokens=1, cost_micros=999)


@pytest.fixture
def thread(asker: Scope) -> uuid.UUID:
    return open_thread(asker, "conversation")


def parts_of(message: StoredMessage) -> Any:
    return orjson.loads(orjson.dumps(message.parts))


def test_without_a_turn_id_it_is_a_plain_insert_every_time(asker: Scope, thread: uuid.UUID) -> None:
    first = append_message(asker, thread, "user", text("Hello"))
    second = append_message(asker, thread, "user", text("Hello"))
    assert first.created
    assert second.created
    assert first.id != second.id
    assert Message.objects.filter(turn_id=None).count() == 2


def test_a_row_that_is_there_comes_back_and_the_request_is_dropped(asker: Scope, thread: uuid.UUID) -> None:
    turn = begin(asker, thread, "t1", "the server's text")
    finish(turn)

    user = append_message(asker, thread, "user", text("a client's text"), turn_id="t1")
    answer = append_message(asker, thread, "assistant", text("forged"), turn_id="t1")

    assert (user.id, parts_of(user), user.created) == (turn.user_message_id, text("the server's text"), False)
    assert (answer.id, parts_of(answer), answer.created) == (turn.assistant_message_id, ANSWER, False)
    assert Message.objects.count() == 2


def test_an_append_in_front_of_its_send_gives_the_row_and_the_send_the_text(asker: Scope, thread: uuid.UUID) -> None:
    early = append_message(asker, thread, "user", text("typed"), turn_id="t1")
    turn = begin(asker, thread, "t1", "sent")

    assert turn.created
    assert turn.user_message_id == early.id
    row = Message.objects.get(role=Role.USER)
    assert (row.parts, row.metadata) == (text("sent"), {})


@pytest.mark.parametrize("append_first", [True, False])
def test_append_and_finalise_give_the_server_s_answer_in_both_orders(
    asker: Scope, thread: uuid.UUID, append_first: bool
) -> None:
    turn = begin(asker, thread)
    steps = [
        lambda: append_message(asker, thread, "assistant", text("forged"), turn_id="t1", usage=CLAIM),
        lambda: finish(turn),
    ]
    for step in steps if append_first else reversed(steps):
        step()

    assert Message.objects.get(role=Role.ASSISTANT).parts == ANSWER
    assert TokenUsage.objects.get().cost_micros == 12
    assert_invariants()


def test_it_sets_no_usage_for_a_turn_that_the_server_runs(asker: Scope, thread: uuid.UUID) -> None:
    begin(asker, thread)
    append_message(asker, thread, "assistant", text("forged"), turn_id="t1", usage=CLAIM)
    assert not TokenUsage.objects.exists()


def test_it_gives_a_usage_row_to_an_ended_turn_that_has_none(asker: Scope, thread: uuid.UUID) -> None:
    TurnFactory.create(thread_id=thread, user_id=asker.user_id, turn_id="old", status="completed")
    append_message(asker, thread, "assistant", text("kept by the client"), turn_id="old", usage=CLAIM)
    append_message(asker, thread, "assistant", text("again"), turn_id="old", usage=UsageFigures(source="reported"))
    assert TokenUsage.objects.get().cost_micros == 999


def test_it_makes_an_assistant_row_only_for_a_turn_of_the_asker(
    asker: Scope, thread: uuid.UUID, other_user: Any
) -> None:
    with pytest.raises(TurnNotFound):
        append_message(asker, thread, "assistant", text("forged"), turn_id="unknown")
    TurnFactory.create(thread_id=thread, user=other_user, turn_id="theirs")
    with pytest.raises(TurnNotFound):
        append_message(asker, thread, "assistant", text("forged"), turn_id="theirs")
    assert not Message.objects.exists()


def test_it_writes_nothing_into_the_thread_of_somebody_else(asker: Scope) -> None:
    theirs = ThreadFactory.create()
    with pytest.raises(ThreadNotFound):
        append_message(asker, theirs.pk, "user", text("Hello"), turn_id="t1")
    assert not Message.objects.exists()
