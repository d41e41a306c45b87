"""A history read in pages, in every phase the same."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chat.conf import Phase
from chat.errors import ChatNotFound, MessageNotFound
from chat.models import CopilotChat, CopilotMessage
from chat.store.elements import find_element
from chat.store.scope import Scope
from chat.store.transcript import read_transcript
from tests.copilot.chats import chat_with, element, elements
from tests.copilot.reconciling import execute

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("bystanders"),
    pytest.mark.parametrize("phase", list(Phase)),
]


@pytest.fixture(autouse=True)
def in_phase(phase: Phase, settings: Any) -> None:
    settings.COPILOT_MESSAGES_PHASE = phase


def names(asker: Scope, chat: uuid.UUID, **page: Any) -> list[str]:
    return [one.message_id for one in read_transcript(asker, chat, **page)]


def test_the_last_messages_come_first_and_their_predecessors_after_them(asker: Scope) -> None:
    chat = chat_with(asker, "u1", "a1", "u2", "a2", "u3")
    assert names(asker, chat, limit=2) == ["a2", "u3"]
    assert names(asker, chat, limit=2, before="a2") == ["a1", "u2"]
    assert names(asker, chat, limit=2, before="u1") == []
    assert names(asker, chat) == ["u1", "a1", "u2", "a2", "u3"]
    with pytest.raises(MessageNotFound):
        names(asker, chat, before="nowhere")


def test_bad_elements_look_the_same_in_every_phase(asker: Scope) -> None:
    nameless = {"role": "user", "content": "no id"}
    messages = [element("u1"), None, 7, nameless, element("u1", content="again"), *elements("a1"), {"id": "odd"}]
    chat = chat_with(asker, messages=messages)
    assert names(asker, chat)[0] == "u1"
    assert [len(name) > 30 for name in names(asker, chat)] == [False, True, False, False]
    assert names(asker, chat)[2:] == ["a1", "odd"]
    assert names(asker, chat, limit=4) == names(asker, chat)
    assert '"words of u1"' in read_transcript(asker, chat)[0].content


def test_an_element_is_found_by_who_may_see_its_chat(asker: Scope, other_user: Any) -> None:
    chat = chat_with(asker, "u1")
    found = find_element(asker, chat, "u1")
    assert found
    assert found["id"] == "u1"
    assert find_element(asker, chat, "u2") is None
    assert find_element(Scope(other_user.pk), chat, "u1") is None
    CopilotMessage.objects.filter(chat=chat).update(deleted_at="2026-01-01T00:00:00Z")
    CopilotChat.objects.filter(pk=chat).update(messages=[])
    assert find_element(asker, chat, "u1") is None


def test_a_number_that_only_postgresql_holds_costs_no_element(asker: Scope) -> None:
    chat = chat_with(asker, "u1")
    execute("UPDATE copilot_chats SET messages = jsonb_set(messages, '{0,n}', '1e400') WHERE id = %s", chat)
    execute("""UPDATE copilot_chat_messages SET content = content || '{"n": 1e400}' WHERE chat_id = %s""", chat)
    found = find_element(asker, chat, "u1")
    assert found
    assert found["content"] == "words of u1"


def test_an_empty_history_is_no_missing_chat(asker: Scope, other_user: Any) -> None:
    assert names(asker, chat_with(asker)) == []
    with pytest.raises(ChatNotFound):
        names(asker, uuid.uuid4())
    with pytest.raises(ChatNotFound):
        names(asker, chat_with(Scope(other_user.pk), "u1"))
