"""Histories that are not as a turn leaves them: ids repeated, rows missing, marked as deleted or written before."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chat.conf import Phase
from chat.errors import MessageNotFound
from chat.models import CopilotChat, CopilotMessage
from chat.store import copilot
from chat.store import mirror as rows_of
from chat.store.scope import Scope
from chat.store.transcript import read_transcript
from tests.copilot.chats import array, chat_with, element, elements, mirror, mirror_row
from tests.copilot.test_writer import MIRRORED, end, send, version

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bystanders", "as_they_lie")]
FROM_MIRROR = [Phase.MIRROR_READS, Phase.MIRROR_ONLY]


def deleted(chat: uuid.UUID, name: str) -> None:
    CopilotMessage.objects.filter(chat=chat, message_id=name).update(deleted_at="2026-05-02T00:00Z")


def shuffled(chat: uuid.UUID) -> None:
    """The rows lie in another order than they have: the earlier ones were written again."""
    for row in CopilotMessage.objects.filter(chat=chat).order_by("-seq"):
        CopilotMessage.objects.filter(pk=row.pk).update(updated_at="2026-05-02T00:00Z")


def said(asker: Scope, chat: uuid.UUID, **page: Any) -> list[str]:
    return [one.message_id for one in read_transcript(asker, chat, **page)]


@pytest.mark.parametrize("phase", MIRRORED, indirect=True)
@pytest.mark.usefixtures("phase")
def test_a_message_that_only_the_array_has_is_mirrored_by_the_send_that_finds_it(asker: Scope) -> None:
    chat = chat_with(asker, "u1", "a1")
    history = [*elements("u1", "a1", "u2"), element("u2", content="again")]
    CopilotChat.objects.filter(pk=chat).update(messages=history)
    assert not send(asker, chat, element("u2", content="mine"))
    row = mirror_row(chat, "u2")
    assert (row.content["content"], row.seq, row.stream_id) == ("words of u2", 2, "u2")
    assert CopilotChat.objects.get(pk=chat).active_stream_id == "u2"


@pytest.mark.parametrize("phase", [Phase.JSONB, *MIRRORED], indirect=True)
@pytest.mark.usefixtures("phase")
def test_an_answer_that_only_the_array_has_is_not_written_again_and_the_marker_goes(asker: Scope) -> None:
    chat = chat_with(asker, "u1", active_stream_id="u1")
    CopilotChat.objects.filter(pk=chat).update(messages=elements("u1", "a1"))
    assert not end(chat, "u1", element("a1", "assistant"))
    assert array(chat) == ["u1", "a1"]
    assert CopilotChat.objects.get(pk=chat).active_stream_id is None


@pytest.mark.parametrize("phase", [Phase.JSONB, Phase.DUAL], indirect=True)
@pytest.mark.usefixtures("phase")
def test_of_a_repeated_message_the_first_has_the_answer_and_is_where_a_fork_ends(asker: Scope) -> None:
    chat = chat_with(asker, messages=[*elements("u1", "a1"), element("u1", content="again")])
    assert not end(chat, "u1", element("mine", "assistant"))
    assert array(copilot.fork_chat(asker, chat, "u1")) == ["u1"]


@pytest.mark.parametrize("phase", FROM_MIRROR, indirect=True)
def test_what_is_marked_as_deleted_is_not_there(asker: Scope, phase: Phase) -> None:
    chat = chat_with(asker, "u1", "a1", "u2", "a2", "u3")
    deleted(chat, "a1")
    shuffled(chat)
    assert said(asker, chat) == ["u1", "u2", "a2", "u3"]
    assert said(asker, chat, before="u3", limit=2) == ["u2", "a2"]
    with pytest.raises(MessageNotFound):
        said(asker, chat, before="a1")
    with pytest.raises(MessageNotFound):
        copilot.fork_chat(asker, chat, "a1")
    new = copilot.fork_chat(asker, chat, "u2")
    assert mirror(new) == said(asker, new) == ["u1", "u2"]
    assert array(new) == ([] if phase == Phase.MIRROR_ONLY else ["u1", "u2"])
    unanswered = chat_with(asker, "u1", "a1")
    deleted(unanswered, "a1")
    assert end(unanswered, "u1", element("mine", "assistant"))
    assert mirror(unanswered) == ["u1", "mine"]


def test_a_row_that_is_marked_as_deleted_takes_no_place_and_comes_back_with_its_element(asker: Scope) -> None:
    chat = chat_with(asker, "u1", "a1", "u2")
    deleted(chat, "u2")
    rows_of.append(chat, [element("a2", "assistant")], place=2)
    assert mirror_row(chat, "a2").seq == 2
    CopilotMessage.objects.filter(chat=chat, message_id="a2").delete()
    rows_of.append(chat, elements("u2"))
    assert mirror(chat) == ["u1", "a1", "u2"]


def test_a_row_that_is_written_again_gets_what_is_told_and_keeps_the_rest(asker: Scope) -> None:
    chat = chat_with(asker, "u1", "a1")
    before = mirror_row(chat, "u1")
    changed = element("u1", "system", content="changed", timestamp="2026-06-01T10:00:00.000Z")
    nothing: dict[str, Any] = {}
    told: dict[str, Any] = {"model": "small", "stream_id": "u1", "tokens_in": 7, "tokens_out": 9}
    for fields, kept in (
        (nothing, ("large", None, None, None)),
        (told, ("small", "u1", 7, 9)),
        (nothing, ("small", "u1", 7, 9)),
    ):
        rows_of.append(chat, [changed], place=9, **fields)
        row = mirror_row(chat, "u1")
        assert (row.role, row.content) == ("system", changed)
        assert (row.model, row.stream_id, row.tokens_in, row.tokens_out) == kept
        assert (row.pk, row.seq, row.created_at) == (before.pk, before.seq, before.created_at)


def test_an_element_without_a_time_has_that_of_its_chat(asker: Scope) -> None:
    chat = chat_with(asker)
    rows_of.append(chat, [{"id": "u1", "role": "user"}])
    assert mirror_row(chat, "u1").created_at == CopilotChat.objects.get(pk=chat).created_at


def test_an_answer_in_front_of_a_message_without_a_row_goes_to_the_end(asker: Scope) -> None:
    chat = chat_with(asker, "u1")
    rows_of.insert(chat, element("a1", "assistant"), before="u2")
    assert mirror(chat) == ["u1", "a1"]


def test_of_a_repeated_id_the_first_counts_however_many_there_are(asker: Scope, phase: Phase) -> None:
    names = [f"m{number * 7 % 40:02}" for number in range(40)]
    history = [element(name, content=time) for time in ("first", "second") for name in names]
    chat = copilot.import_chat(asker.user_id, title="", model="", elements=history)
    found = read_transcript(asker, chat, limit=100)
    assert [one.message_id for one in found] == names
    assert all("first" in one.content for one in found)
    copilot.replace_messages(asker, chat, history, version=version(chat))
    found = read_transcript(asker, chat, limit=100)
    assert [one.message_id for one in found] == names
    assert all("first" in one.content for one in found)
    if phase != Phase.JSONB:
        assert mirror(chat) == names
