"""Opinions, beside those of others and of other answers."""

from __future__ import annotations

import pytest
from django.utils import timezone

from chat.errors import MessageNotFound
from chat.models import Feedback, Message
from chat.store.feedback import feedback_in, give_feedback, take_feedback_back
from chat.store.scope import Scope
from chat.store.sql import rows
from tests.factories import MessageFactory, ThreadFactory

pytestmark = pytest.mark.django_db


@pytest.mark.usefixtures("everybody_reads")
def test_an_opinion_is_one_person_s_of_one_answer(asker: Scope, other: Scope) -> None:
    thread, beside = (ThreadFactory.create(owner_id=asker.user_id) for _ in range(2))
    one, two, far = (MessageFactory.create(thread=where, role="assistant").pk for where in (thread, thread, beside))
    for message in (two, one, far):
        for scope in (asker, other):
            give_feedback(scope, message, "up", f"of {scope.user_id}")
    assert Feedback.objects.count() == 6
    for way in ("nestloop", "mergejoin", "indexscan", "bitmapscan"):  # which might bring them in order by themselves
        rows(f"SET LOCAL enable_{way} = off")
    mine = feedback_in(asker, thread.pk)
    assert [(opinion["message_id"], opinion["comment"]) for opinion in mine] == [
        (one, f"of {asker.user_id}"),
        (two, f"of {asker.user_id}"),
    ]
    take_feedback_back(asker, one)
    left = Feedback.objects.filter(user=asker.user_id).values_list("message", flat=True)
    assert (set(left), Feedback.objects.filter(user=other.user_id).count()) == ({two, far}, 3)


def test_there_is_no_opinion_of_what_was_deleted_or_is_another_s(asker: Scope) -> None:
    thread = ThreadFactory.create(owner_id=asker.user_id)
    gone, theirs = MessageFactory.create(thread=thread, role="assistant"), MessageFactory.create(role="assistant")
    give_feedback(asker, gone.pk, "up", "")
    Message.objects.filter(pk=gone.pk).update(deleted_at=timezone.now())
    assert feedback_in(asker, thread.pk) == []
    for message in (gone.pk, theirs.pk):
        with pytest.raises(MessageNotFound):
            give_feedback(asker, message, "down", "")
        with pytest.raises(MessageNotFound):
            take_feedback_back(asker, message)
