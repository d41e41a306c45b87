"""What tests of the store do in threads beside others, how they find the rows of it, and what has changed."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

from django.db.models import Model

from chat.models import CopilotChat, Message, QuotaCounter, StreamEvents, Thread, TokenUsage, ToolApproval, Turn
from chat.store.begin import NewUserMessage, begin_turn
from chat.store.copilot_turns import begin_copilot_turn
from chat.store.queue import enqueue_turn
from chat.store.scope import Scope
from chat.store.turns import StoredTurn
from chat.store.versions import Revision, answer_of, current_version
from tests.factories import MessageFactory
from tests.store.test_turns import begin, finish, text

GONE = {"deleted_at": "2026-01-01T00:00:00Z"}
Everything = dict[tuple[str, Any], dict[str, Any]]
WRITTEN: list[type[Model]] = [Thread, Turn, Message, TokenUsage, StreamEvents, ToolApproval, QuotaCounter, CopilotChat]


def conversation(asker: Scope, thread: uuid.UUID) -> list[StoredTurn]:
    """Two ended turns, t1 and t2, whose messages a client has named m1 and m2."""
    turns = []
    for number in (1, 2):
        turns.append(begin(asker, thread, f"t{number}", f"question {number}", client_id=f"m{number}"))
        finish(turns[-1])
    return turns


def wait_behind(asker: Scope, thread: uuid.UUID, turn_id: str, **keys: Any) -> StoredTurn:
    """A turn that waits, whose message is named as it is; or None, whatever mypy says."""
    message = NewUserMessage(parts=text(turn_id), client_id=turn_id)
    given: dict[str, Any] = {"fingerprint": turn_id, "request": {}, "user_message": message, "most": 9}
    return enqueue_turn(asker, thread, turn_id, **(given | keys))  # type: ignore[return-value]


def edit(asker: Scope, thread: uuid.UUID, name: str, turn_id: str) -> StoredTurn:
    """A turn that edits the message of that name."""
    found = current_version(asker, thread, name)
    revision = Revision(found.id, found.parent, found.first_version, found.turn, is_edit=True)
    message = NewUserMessage(parts=text("edited"), client_id=name)
    return revise(asker, thread, turn_id, revision, message)


def another_answer(asker: Scope, thread: uuid.UUID, name: str, turn_id: str) -> StoredTurn:
    """A turn that answers the message of that name once more."""
    answer = answer_of(asker, current_version(asker, thread, name))
    assert answer is not None
    revision = Revision(answer.id, answer.parent, answer.first_version, answer.turn, is_edit=False)
    return revise(asker, thread, turn_id, revision, None)


def revise(
    asker: Scope, thread: uuid.UUID, turn_id: str, revision: Revision, message: NewUserMessage | None
) -> StoredTurn:
    trigger = "edit" if revision.is_edit else "regenerate"
    wanted: dict[str, Any] = {"user_message": message, "trigger": trigger, "revises": revision}
    return begin_turn(asker, thread, turn_id, fingerprint=turn_id, request={}, **wanted)


def turn_of(thread: uuid.UUID, turn_id: str) -> Turn:
    return Turn.objects.get(thread=thread, turn_id=turn_id)


def message_of(thread: uuid.UUID, turn_id: str, role: str = "assistant") -> Message:
    return Message.objects.get(thread=thread, turn_id=turn_id, role=role)


def not_current(thread: uuid.UUID) -> list[Message]:
    """The newest messages of a thread, of which none is to be followed or touched: replaced, and deleted."""
    return [
        MessageFactory.create(thread_id=thread, is_current=False),
        MessageFactory.create(thread_id=thread, **GONE),
    ]


def chat_turn(asker: Scope, name: str) -> StoredTurn:
    chat = CopilotChat.objects.create(user_id=asker.user_id, title=name)
    return begin_copilot_turn(asker, chat.pk, "t3", said={"content": "Hello"}, fingerprint="", request={})


def everything() -> Everything:
    """All rows of what turns write, by table and key."""
    return {
        (model.__name__, one.pk): {name: value for name, value in vars(one).items() if name != "_state"}
        for model in WRITTEN
        for one in model._default_manager.all()
    }


def changed(before: Everything) -> tuple[set[tuple[str, Any]], Counter[str]]:
    """The rows that are others than before, or gone; and how many there are more, by table."""
    now = everything()
    new = Counter(table for table, pk in now if (table, pk) not in before)
    return {key for key, row in before.items() if now.get(key) != row}, new
