"""One chat among others: listed, changed, deleted, begun in, and none of the others for it."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import AbstractUser
from django.db.models import Q

from chat.errors import ChatBusy, TurnConflict
from chat.models import CopilotChat, TokenUsage, Turn
from chat.store import chats
from chat.store.copilot_turns import begin_copilot_turn, turn_of_stream
from chat.store.scope import Scope
from chat.store.turns import StoredTurn
from tests.copilot.chats import chat_with
from tests.factories import TurnFactory, UsageFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("as_they_lie")]


def begin(asker: Scope, chat: uuid.UUID, name: str, *, fingerprint: str = "f", title: str = "") -> StoredTurn:
    said = {"content": "Hello"}
    return begin_copilot_turn(asker, chat, name, said=said, fingerprint=fingerprint, request={}, title=title)


def turn_in(chat: uuid.UUID, name: str, status: str) -> Turn:
    turn: Turn = TurnFactory.create(thread=None, copilot_chat_id=chat, user=None, turn_id=name, status=status)
    return turn


def test_chats_of_one_moment_are_all_listed_once(asker: Scope) -> None:
    there = sorted(chat_with(asker, title=f"{number}") for number in range(5))
    CopilotChat.objects.update(updated_at="2026-05-01T10:00Z")
    seen: list[uuid.UUID] = []
    page = chats.list_chats(asker, limit=2)
    while page and len(seen) < 9:
        assert len(page) <= 2
        seen += [one["id"] for one in page]
        page = chats.list_chats(asker, after=(page[-1]["updated_at"], page[-1]["id"]), limit=2)
    assert seen == there


def test_what_is_not_named_is_not_changed_and_nothing_is_in_another_chat(asker: Scope) -> None:
    other, chat = (chat_with(asker, title="Plans", config={"a": 1}) for _ in range(2))
    fields = CopilotChat.objects.values_list("title", "model", "config")
    for change, becomes in (
        ({"title": "Other"}, ("Other", "large", {"a": 1})),
        ({"model": "small"}, ("Other", "small", {"a": 1})),
        ({"config": {}}, ("Other", "small", {})),
    ):
        changed = chats.update_chat(asker, chat, **change)  # type: ignore[arg-type]
        assert changed["id"] == chat
        assert fields.get(pk=chat) == becomes
        assert chats.read_chat(asker, chat)["title"] == "Other"
    assert fields.get(pk=other) == ("Plans", "large", {"a": 1})


def test_only_the_turn_that_a_deleted_chat_cuts_off_leaves_a_usage_row_and_only_one(asker: Scope) -> None:
    one, waiting, other = (chat_with(asker) for _ in range(3))
    turn_in(one, "m1", "completed")  # an older program's: nobody has counted it
    live = turn_in(one, "m2", "streaming")
    parked = turn_in(waiting, "m1", "awaiting_approval")
    UsageFactory.create(turn=parked, thread=None, user=None)
    turn_in(other, "m1", "streaming")
    chats.delete_chat(asker, one)
    assert TokenUsage.objects.filter(source="missing").count() == 1
    chats.delete_chat(asker, waiting)
    assert sorted(TokenUsage.objects.values_list("source", flat=True)) == ["missing", "reported"]
    assert not Turn.objects.filter(Q(pk=live.pk) | Q(pk=parked.pk)).exists()
    assert list(CopilotChat.objects.values_list("pk", flat=True)) == [other]


def test_a_first_message_names_its_chat_unless_it_has_a_name_and_no_other(asker: Scope) -> None:
    other, named, unnamed = (chat_with(asker, title=title) for title in ("", "Plans", ""))
    begin(asker, named, "m1", title="Hello")
    begin(asker, unnamed, "m1", title="Hello")
    titles = dict(CopilotChat.objects.values_list("pk", "title"))
    assert titles == {other: "", named: "Plans", unnamed: "Hello"}


def test_a_turn_that_is_there_is_told_from_those_before_it(asker: Scope) -> None:
    chat = chat_with(asker)
    for name in ("m1", "m2", "m3"):
        begun = begin(asker, chat, name, fingerprint=name)
        assert begun.created
        if name != "m3":
            Turn.objects.update(status="completed")
    assert begin(asker, chat, "m2", fingerprint="m2").turn_id == "m2"
    with pytest.raises(TurnConflict) as conflict:
        begin(asker, chat, "m2", fingerprint="m1")
    assert conflict.value.details["turn_id"] == "m2"
    with pytest.raises(ChatBusy) as busy:
        begin(asker, chat, "m4")
    assert busy.value.details["turn"] == begun.pk


def test_a_stream_is_the_newest_of_its_name_that_the_asker_may_see(asker: Scope, other_user: AbstractUser) -> None:
    ours = [turn_in(chat_with(asker), "m1", "streaming") for _ in range(2)]
    turn_in(chat_with(asker), "m2", "streaming")
    theirs = turn_in(chat_with(Scope(other_user.pk)), "m1", "streaming")
    assert turn_of_stream(asker, "m1").pk == ours[1].pk
    assert turn_of_stream(Scope(other_user.pk), "m1").pk == theirs.pk
