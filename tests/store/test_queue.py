"""The order of those that wait."""

from __future__ import annotations

from typing import Any

import pytest

from chat.store.begin import NewUserMessage
from chat.store.queue import enqueue_turn, queued_turns
from chat.store.scope import Scope
from chat.store.threads import open_thread
from tests.store.test_turns import begin, text

pytestmark = pytest.mark.django_db


def test_a_turn_waits_behind_the_others_unless_it_is_the_first(asker: Scope) -> None:
    thread = open_thread(asker, "conversation")
    begin(asker, thread)

    def wait(turn_id: str, **keys: Any) -> None:
        message = NewUserMessage(text(turn_id))
        enqueue_turn(asker, thread, turn_id, fingerprint=turn_id, request={}, user_message=message, most=9, **keys)

    wait("t2")
    wait("t3")
    wait("t4", first=True)
    assert [turn.turn_id for turn in queued_turns(asker, thread)] == ["t4", "t2", "t3"]
