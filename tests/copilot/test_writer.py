"""What each of the six places writes, into the array and into its mirror, in every phase."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.db import connection, transaction

from chat.conf import Phase
from chat.errors import ChatBusy, ChatNotFound, MessageNotFound, StaleMessages
from chat.models import CopilotChat, CopilotMessage
from chat.store import copilot
from chat.store.scope import Scope
from chat.store.sql import rows
from tests.copilot.chats import array, assert_mirrored, chat_with, element, elements, mirror, mirror_row
from tests.factories import TurnFactory
from tests.races import while_held

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bystanders")]
MIRRORED = [Phase.DUAL, Phase.MIRROR_READS]


def send(asker: Scope, chat: uuid.UUID, message: dict[str, Any], stream_id: str | None = None) -> bool:
    with transaction.atomic():
        return copilot.write_user_message(copilot.lock_chat(asker, chat), message, stream_id=stream_id or message["id"])


def end(chat: uuid.UUID, turn: str, answer: dict[str, Any] | None, **tokens: int) -> bool:
    with transaction.atomic():
        return copilot.write_answer(copilot.lock_chat(None, chat), turn_id=turn, answer=answer, **tokens)


def history(chat: uuid.UUID, phase: Phase) -> list[str]:
    """The ids of the truth in this phase; where both hold it, they agree."""
    if phase == Phase.MIRROR_ONLY:
        assert array(chat) == ["u1", "a1"] or not CopilotChat.objects.get(pk=chat).array_behind
        return mirror(chat)
    if phase == Phase.JSONB:
        assert not CopilotMessage.objects.filter(chat=chat).exclude(message_id__in=["u1", "a1"]).exists()
    else:
        assert_mirrored(chat)
    return array(chat)


def version(chat: uuid.UUID) -> int:
    return CopilotChat.objects.get(pk=chat).messages_version


def test_a_turn_appends_its_message_and_its_answer_once(asker: Scope, phase: Phase) -> None:
    chat = chat_with(asker, "u1", "a1")
    assert send(asker, chat, element("u2"))
    assert CopilotChat.objects.get(pk=chat).active_stream_id == "u2"
    assert not send(asker, chat, element("u2", content="again"))
    assert end(chat, "u2", element("a2", "assistant"), tokens_in=7, tokens_out=9)
    assert not end(chat, "u2", element("a2", "assistant"))
    assert not end(chat, "u2", element("another", "assistant"))
    assert history(chat, phase) == ["u1", "a1", "u2", "a2"]
    stored = CopilotChat.objects.get(pk=chat)
    assert stored.active_stream_id is None
    assert stored.messages_version == 2
    assert stored.array_behind == (phase == Phase.MIRROR_ONLY)
    if phase != Phase.JSONB:
        rows = [mirror_row(chat, name) for name in ("u2", "a2")]
        assert [(row.stream_id, row.model, row.seq) for row in rows] == [("u2", "large", 2), ("u2", "large", 3)]
        assert (rows[1].tokens_in, rows[1].tokens_out) == (7, 9)
        assert rows[0].content["content"] == "words of u2"


def test_an_answer_is_appended_behind_a_steering_message(asker: Scope, phase: Phase) -> None:
    chat = chat_with(asker, "u1", "a1")
    send(asker, chat, element("u2"))
    send(asker, chat, element("steer"), stream_id="u2")
    assert end(chat, "u2", element("a2", "assistant"))
    assert history(chat, phase) == ["u1", "a1", "u2", "steer", "a2"]


def test_an_answer_that_an_older_program_wrote_is_not_written_again(asker: Scope, phase: Phase) -> None:
    chat = chat_with(asker, "u1", "a1", active_stream_id="u1")
    assert not end(chat, "u1", element("mine", "assistant"))
    assert history(chat, phase) == ["u1", "a1"]
    assert CopilotChat.objects.get(pk=chat).active_stream_id is None


def test_an_answer_to_another_turn_is_not_taken_for_this_ones(asker: Scope, phase: Phase) -> None:
    chat = chat_with(asker, "u1", "a1")
    send(asker, chat, element("u2"))
    send(asker, chat, element("u3"))
    assert end(chat, "u3", element("a3", "assistant"))
    assert end(chat, "u2", element("a2", "assistant"))
    assert history(chat, phase) == ["u1", "a1", "u2", "u3", "a3", "a2"]


def test_the_marker_of_a_newer_turn_stays_and_its_message_stays_last(asker: Scope, phase: Phase) -> None:
    chat = chat_with(asker, "u1", "a1")
    send(asker, chat, element("u2"))
    send(asker, chat, element("u3"))  # an older program knows nothing of the turn that is live
    assert end(chat, "u2", element("a2", "assistant"))
    assert history(chat, phase) == ["u1", "a1", "u2", "a2", "u3"]
    assert CopilotChat.objects.get(pk=chat).active_stream_id == "u3"


def test_a_turn_without_an_answer_only_clears_its_marker(asker: Scope, phase: Phase) -> None:
    chat = chat_with(asker, "u1", "a1", active_stream_id="u2")
    assert not end(chat, "u1", None)
    assert CopilotChat.objects.get(pk=chat).active_stream_id == "u2"
    assert not end(chat, "u2", None)
    assert CopilotChat.objects.get(pk=chat).active_stream_id is None
    assert history(chat, phase) == ["u1", "a1"]


def test_whatever_is_written_is_activity(asker: Scope, phase: Phase) -> None:
    chat = chat_with(asker, "u1", "a1")
    for write in (
        lambda: send(asker, chat, element("u2")),
        lambda: send(asker, chat, element("u2")),
        lambda: end(chat, "u2", None),
        lambda: send(asker, chat, element("u3")),
        lambda: end(chat, "u2", element("a2", "assistant")),  # in front of u3
        lambda: end(chat, "u3", element("a3", "assistant")),
        lambda: copilot.replace_messages(asker, chat, elements("u1"), version=version(chat)),
    ):
        CopilotChat.objects.filter(pk=chat).update(updated_at="2020-01-01T00:00Z")
        write()
        assert CopilotChat.objects.get(pk=chat).updated_at.year > 2020


@pytest.mark.django_db(transaction=True)
def test_who_writes_a_chat_holds_that_one_alone(asker: Scope, bystanders: list[uuid.UUID]) -> None:
    chat = chat_with(asker, "u1")
    free = "SELECT id FROM copilot_chats FOR NO KEY UPDATE SKIP LOCKED"
    _, found = while_held(lambda: [copilot.lock_chat(asker, chat).id], lambda: [one["id"] for one in rows(free)])
    assert sorted(found) == sorted(bystanders)


def test_a_replace_is_refused_when_it_is_stale(asker: Scope, phase: Phase) -> None:
    chat = chat_with(asker, "u1", "a1")
    read = version(chat)
    send(asker, chat, element("u2"))
    with pytest.raises(StaleMessages) as refused:
        copilot.replace_messages(asker, chat, elements("u1"), version=read)
    assert refused.value.details == {"messages_version": read + 1}
    assert history(chat, phase) == ["u1", "a1", "u2"]


def test_a_replace_is_refused_while_a_turn_is_live(asker: Scope, phase: Phase) -> None:
    chat = chat_with(asker, "u1", "a1")
    turn = TurnFactory.create(thread=None, copilot_chat_id=chat, user=None, status="streaming")
    with pytest.raises(ChatBusy) as refused:
        copilot.replace_messages(asker, chat, elements("u1"), version=version(chat))
    assert refused.value.details["turn"] == turn.pk
    assert history(chat, phase) == ["u1", "a1"]


@pytest.mark.parametrize("phase", MIRRORED, indirect=True)
def test_a_replace_deletes_reorders_and_keeps_what_the_array_does_not_tell(asker: Scope, phase: Phase) -> None:
    chat = chat_with(asker, "u1", "a1")
    send(asker, chat, element("u2"))
    end(chat, "u2", element("a2", "assistant"), tokens_in=1)
    before = mirror_row(chat, "a2")
    snapshot = [element("a2", "assistant", content="edited"), *elements("u2", "u3"), element("u2", content="twice")]
    copilot.replace_messages(asker, chat, snapshot, version=version(chat), config={"mode": "ask"})
    assert mirror(chat) == ["a2", "u2", "u3"]
    after = mirror_row(chat, "a2")
    assert after.content["content"] == "edited"
    assert (after.pk, after.stream_id, after.tokens_in) == (before.pk, "u2", 1)
    assert mirror_row(chat, "u2").content["content"] == "words of u2"
    copilot.replace_messages(asker, chat, [], version=version(chat))
    assert (mirror(chat), array(chat)) == ([], [])
    assert CopilotChat.objects.get(pk=chat).config == {"mode": "ask"}


def test_a_fork_takes_the_slice_with_ids_times_and_model(asker: Scope, phase: Phase) -> None:
    chat = chat_with(asker, "u1", "a1", title="Fork | Plans", config={"mode": "ask"}, active_stream_id="u1")
    send(asker, chat, element("u2"))
    new = copilot.fork_chat(asker, chat, "a1")
    made = CopilotChat.objects.get(pk=new)
    assert (made.title, made.model, made.config, made.active_stream_id) == (
        "Fork | Plans",
        "large",
        {"mode": "ask"},
        None,
    )
    if phase == Phase.MIRROR_ONLY:
        assert (mirror(new), made.messages, made.array_behind) == (["u1", "a1"], [], True)
    else:
        assert array(new) == ["u1", "a1"]
    if phase != Phase.JSONB:
        assert mirror(new) == ["u1", "a1"]
        assert mirror_row(new, "a1").created_at == mirror_row(chat, "a1").created_at
        assert mirror_row(new, "a1").model == "large"
    with pytest.raises(MessageNotFound):
        copilot.fork_chat(asker, chat, "elsewhere")


def test_an_import_is_a_new_chat(asker: Scope, phase: Phase) -> None:
    history: list[Any] = [*elements("u1", "a1", "u1"), "no object"]
    new = copilot.import_chat(asker.user_id, title="Plans", model="small", elements=history, config={"mode": "ask"})
    made = CopilotChat.objects.get(pk=new)
    assert (made.title, made.model, made.config) == ("[Import] Plans", "small", {"mode": "ask"})
    assert (made.messages, made.array_behind) == (([], True) if phase == Phase.MIRROR_ONLY else (history, False))
    assert (mirror(new), made.mirror_failures) == ([] if phase == Phase.JSONB else ["u1", "a1"], 0)
    empty = CopilotChat.objects.get(pk=copilot.import_chat(asker.user_id, title="", model="", elements=[]))
    assert (empty.config, empty.array_behind) == ({}, False)


def test_nobody_writes_into_the_chat_of_somebody_else(asker: Scope, other_user: Any, phase: Phase) -> None:
    chat = chat_with(Scope(other_user.pk), "u1", "a1")
    for attempt in (
        lambda: send(asker, chat, element("u2")),
        lambda: copilot.replace_messages(asker, chat, [], version=0),
        lambda: copilot.fork_chat(asker, chat, "u1"),
        lambda: send(asker, uuid.uuid4(), element("u2")),
    ):
        with pytest.raises(ChatNotFound):
            attempt()
    assert array(chat) == ["u1", "a1"]


def test_seq_goes_on_behind_what_a_neighbouring_phase_wrote(asker: Scope, settings: Any) -> None:
    chat = chat_with(asker, "u1", "a1")
    settings.COPILOT_MESSAGES_PHASE = Phase.MIRROR_ONLY
    send(asker, chat, element("u2"))
    settings.COPILOT_MESSAGES_PHASE = Phase.MIRROR_READS
    send(asker, chat, element("u3"))
    settings.COPILOT_MESSAGES_PHASE = Phase.MIRROR_ONLY
    send(asker, chat, element("u4"))
    assert mirror(chat) == ["u1", "a1", "u2", "u3", "u4"]


def test_an_older_programs_write_raises_the_version(asker: Scope) -> None:
    chat = chat_with(asker, "u1")
    stored = CopilotChat.objects.get(pk=chat)
    CopilotChat.objects.filter(pk=chat).update(messages=elements("u1", "a1"))
    again = CopilotChat.objects.get(pk=chat)
    assert again.messages_version == stored.messages_version + 1
    assert again.updated_at > stored.updated_at
    CopilotChat.objects.filter(pk=chat).update(title="Renamed")
    assert version(chat) == again.messages_version


@pytest.mark.parametrize("messages", [None, {}, ""])
def test_a_chat_whose_history_is_no_array_goes_on_as_an_empty_one(asker: Scope, messages: Any, phase: Phase) -> None:
    chat = chat_with(asker, messages=[])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE copilot_chats SET messages = %s::jsonb WHERE id = %s", [json.dumps(messages), chat])
    assert send(asker, chat, element("u1"))
    assert end(chat, "u1", element("a1", "assistant"))
    if phase != Phase.MIRROR_ONLY:
        assert array(chat) == ["u1", "a1"]
    if phase != Phase.JSONB:
        assert mirror(chat) == ["u1", "a1"]


@pytest.mark.parametrize("messages", ['[{"id": "u0", "role": "user"}]', {"messages": []}, 5])
@pytest.mark.parametrize("phase", [Phase.JSONB, *MIRRORED], indirect=True)
@pytest.mark.usefixtures("phase")
def test_what_is_no_array_and_not_empty_stays_in_front_of_what_is_said(asker: Scope, messages: Any) -> None:
    chat = chat_with(asker, messages=[])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE copilot_chats SET messages = %s::jsonb WHERE id = %s", [json.dumps(messages), chat])
    assert send(asker, chat, element("u1"))
    assert CopilotChat.objects.get(pk=chat).messages == [messages, element("u1")]


def test_an_id_that_is_a_number_is_the_same_id(asker: Scope, phase: Phase) -> None:
    said = [{"id": number, "role": role, "content": "old"} for number, role in ((1, "user"), (2, "assistant"))]
    chat = chat_with(asker, messages=said)
    assert not send(asker, chat, element("2"))
    if phase != Phase.MIRROR_ONLY:
        assert CopilotChat.objects.get(pk=chat).messages == said
    if phase != Phase.JSONB:
        assert mirror_row(chat, "2").content == said[1]
    assert send(asker, chat, element("02"))


@pytest.mark.parametrize("phase", [Phase.MIRROR_READS], indirect=True)
@pytest.mark.usefixtures("phase")
def test_what_only_the_mirror_has_is_not_written_again_where_the_array_is_behind(asker: Scope, settings: Any) -> None:
    chat = chat_with(asker, "u1")
    settings.COPILOT_MESSAGES_PHASE = Phase.MIRROR_ONLY
    end(chat, "u1", element("a1", "assistant"))
    settings.COPILOT_MESSAGES_PHASE = Phase.MIRROR_READS
    assert not send(asker, chat, element("a1"))
    assert mirror_row(chat, "a1").role == "assistant"
    assert array(chat) == ["u1"]


def test_the_answer_of_an_older_program_to_its_own_turn_is_not_taken_for_this_ones(asker: Scope, phase: Phase) -> None:
    chat = chat_with(asker, "u1", "a1")
    send(asker, chat, element("u2"))
    send(asker, chat, element("u3"))  # an older program's, which has ended meanwhile and cleared the marker
    with transaction.atomic():
        locked = copilot.lock_chat(None, chat)
        place = copilot._append(locked, element("a3", "assistant"), marker=None)
        assert place is not None
        copilot._mirror(locked, element("a3", "assistant"), place)
    assert end(chat, "u2", element("a2", "assistant"))
    assert history(chat, phase) == ["u1", "a1", "u2", "u3", "a3", "a2"]
