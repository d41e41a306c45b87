"""A user who is erased leaves nothing behind: a planted string is looked for in every table, file and log."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from chat.access.scopes import scope_of
from chat.models import (
    Attachment,
    CopilotChat,
    Message,
    QuotaCounter,
    SearchEntry,
    StreamEvents,
    Thread,
    TokenUsage,
    TranscriptView,
    Turn,
)
from chat.store.approvals import read_calls
from chat.store.attachments import save_attachment, storage
from chat.store.erasure import CHATS, THREADS, is_left
from chat.store.feedback import give_feedback
from chat.store.shares import create_share
from chat.store.sql import rows
from chat.store.threads import find_thread
from chat.store.tokens import create_token
from chat.testing.client import Client, said
from chat.turns import stop
from tests.factories import (
    ApprovalFactory,
    MessageFactory,
    ThreadFactory,
    TurnFactory,
    UsageFactory,
    UserFactory,
)
from tests.folded import assert_log_is_stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
PLANTED = "Persimmon9917"


@pytest.fixture(autouse=True)
def own_files(settings: Any, tmp_path: Path) -> None:
    """No other test's uploads lie beside this one's."""
    own = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(tmp_path)}}
    settings.STORAGES = settings.STORAGES | {"default": own}


def found() -> dict[str, int]:
    """In how many rows of which tables the string stands, whatever the column."""
    hits = {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT count(*) FROM {table} t WHERE t::text ILIKE '%{PLANTED}%'")
            count = cursor.fetchone()[0]
            if count:
                hits[table.removeprefix("public.")] = count
    return hits


def files() -> list[bytes]:
    names = storage().listdir("chat")[1] if storage().exists("chat") else []
    return [storage().open(f"chat/{name}").read() for name in names]


async def leave_traces(client: Client, user: AbstractUser, other: AbstractUser) -> None:
    """The string in everything that a user can write."""
    await client.send("t1", f"{PLANTED} /tool", PLANTED)
    await client.send(f"{PLANTED}-thread", "/tokens 2 0")
    await client.request("PATCH", "/api/threads/t1/", {"title": PLANTED, "metadata": {"note": PLANTED}})
    await client.request("DELETE", f"/api/threads/{PLANTED}-thread/")
    await client.request("POST", "/api/copilot/chat", {"message": PLANTED, "createNewChat": True})
    await client.send("t1", PLANTED, "queued", on_busy="enqueue")

    def more() -> None:
        scope = scope_of(user)
        thread = find_thread(scope, "t1")
        create_share(scope, thread, None)
        save_attachment(scope, BytesIO(PLANTED.encode()), filename=PLANTED, media_type="text/plain", size=13)
        answer = Message.objects.filter(thread=thread, role="assistant").first()
        assert answer
        give_feedback(scope, answer.pk, "up", PLANTED)
        create_token(user.get_username(), PLANTED)
        TranscriptView.objects.create(viewer=user, kind="thread", seen="x")
        # In a thread of somebody else, as a team's policy lets them.
        theirs = ThreadFactory.create(owner=other)
        turn_id = f"{PLANTED}-turn"
        parts = [{"type": "text", "text": PLANTED}]
        turn = Turn.objects.create(
            thread=theirs,
            user=user,
            turn_id=turn_id,
            request={"x": PLANTED},
            status="completed",
            finished_at=timezone.now(),
            fingerprint="",
        )
        named = {"client_id": PLANTED, "metadata": {"said": PLANTED}}
        asked = MessageFactory.create(thread=theirs, author=user, turn_id=turn_id, parts=parts, **named)
        MessageFactory.create(thread=theirs, turn_id=turn_id, role="assistant", parent=asked)
        create_share(scope_of(other), theirs.pk, None)
        ApprovalFactory.create(turn=turn, status="denied", reason=PLANTED, decided_by=user, decided_at=timezone.now())

    await sync_to_async(more)()


async def test_nothing_of_an_erased_user_is_found_anywhere(
    client: Client,
    user: AbstractUser,
    other_user: AbstractUser,
    other_client: Client,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await other_client.send("mine", "/tokens 2 0")
    await other_client.request("POST", "/api/copilot/chat", {"message": "Hello", "createNewChat": True})
    await leave_traces(client, user, other_user)
    before = await sync_to_async(found)()
    assert {
        "chat_api_tokens",
        "chat_attachments",
        "chat_feedback",
        "chat_messages",
        "chat_shares",
        "chat_stream_events",
        "chat_threads",
        "chat_tool_approvals",
        "chat_turns",
        "chat_search",
        "copilot_chat_messages",
        "copilot_chats",
    } <= set(before)
    used = await TokenUsage.objects.acount()
    theirs = Turn.objects.filter(Q(thread__owner=user) | Q(copilot_chat__user=user))
    counted = {
        "turns": await theirs.acount(),
        "log_rows": await StreamEvents.objects.filter(turn__in=theirs).acount(),
        "messages": await Message.objects.filter(thread__owner=user).acount(),
        "search_entries": await SearchEntry.objects.filter(thread__owner=user).acount(),
    }
    await sync_to_async(call_command)("erase_user", user.get_username(), "--json")
    report = json.loads(capsys.readouterr().out)
    assert await sync_to_async(found)() == {}
    assert await sync_to_async(files)() == []
    assert not await Thread.objects.filter(owner=user).aexists()

    assert await TokenUsage.objects.acount() == used
    assert not await TokenUsage.objects.filter(user=user).aexists()
    expected = {"threads": 2, "copilot_chats": 1, "attachments": 1, "attachment_bytes": 13, "shares": 2, "feedback": 1}
    expected |= counted
    assert {name: report[name] for name in expected} == expected
    assert (report["tokens"], report["messages_elsewhere"], report["turns_elsewhere"]) == (2, 1, 1)
    assert report["usage_kept"] == used - 2
    assert report["array_elements"] == report["mirror_rows"] == 2
    assert (report["views_kept"], report["decisions_elsewhere"], report["accounts"]) == (1, 1, 0)

    asked, answer = await sync_to_async(list)(Message.objects.filter(thread__owner=other_user).order_by("pk")[2:4])
    assert asked.parts == [{"type": "text", "text": "[erased]"}]
    assert answer.parent_id == asked.pk
    assert asked.turn_id == answer.turn_id == (await Turn.objects.aget(thread=asked.thread_id)).turn_id
    mine = await Turn.objects.aget(thread__client_id="mine")
    await assert_log_is_stored(mine.pk)


def test_it_may_be_run_again_and_takes_the_account_only_when_told(
    user: AbstractUser, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        call_command("erase_user", user.get_username())
    call_command("erase_user", user.get_username(), "--delete-account")
    assert "accounts  1" in capsys.readouterr().out
    assert not get_user_model().objects.filter(pk=user.pk).exists()
    with pytest.raises(CommandError, match="no user"):
        call_command("erase_user", user.get_username())


def test_nobody_has_approved_what_a_turn_waits_with_when_the_approved_input_is_erased(user: AbstractUser) -> None:
    waiting = TurnFactory.create(status="awaiting_approval")
    decided = {"turn": waiting, "decided_by": user, "decided_at": timezone.now()}
    changed = ApprovalFactory.create(**decided, status="approved", changed_input={"to": PLANTED})
    allowed = ApprovalFactory.create(**decided, status="approved", reason=PLANTED)
    said = ApprovalFactory.create(**decided, kind="output", status="answered", output={"zone": PLANTED})
    failed = ApprovalFactory.create(**decided, kind="output", status="answered", error_text=PLANTED)
    ended = {"turn": TurnFactory.create(), "decided_by": user, "decided_at": timezone.now()}
    done = ApprovalFactory.create(**ended, status="approved", changed_input={"to": PLANTED})
    call_command("erase_user", user.get_username())
    assert found() == {}
    told = {call.pk: (call.status, call.error) for call in read_calls(waiting.pk)}
    assert told == {
        changed.pk: ("denied", ""),
        allowed.pk: ("approved", ""),
        said.pk: ("answered", "[erased]"),
        failed.pk: ("answered", "[erased]"),
    }
    assert [call.status for call in read_calls(done.turn_id)] == ["approved"], "which has run, with that input"


def test_a_file_that_the_storage_keeps_is_told_and_keeps_the_account(user: AbstractUser, tmp_path: Path) -> None:
    told = {"filename": PLANTED, "media_type": "text/plain", "size": 13}
    mate = UserFactory.create()  # who has attached a file in the user's thread
    kept = [save_attachment(scope_of(owner), BytesIO(PLANTED.encode()), **told) for owner in (user, user, mate)]
    deleted, _, theirs = (Attachment.objects.filter(pk=one["id"]) for one in kept)
    deleted.update(deleted_at=timezone.now())
    theirs.update(thread=ThreadFactory.create(owner=user))
    for one in kept:
        (tmp_path / one["key"]).unlink()
        (tmp_path / one["key"] / "in the way").mkdir(parents=True)
    with pytest.raises(CommandError, match="Something is left"):
        call_command("erase_user", user.get_username(), "--delete-account")
    assert get_user_model().objects.filter(pk=user.pk).exists()
    assert found() == {}, "not even their names"
    for one in kept:
        (tmp_path / one["key"] / "in the way").rmdir()
    call_command("erase_user", user.get_username(), "--delete-account")
    assert not Attachment.objects.exists()
    assert files() == []
    assert not get_user_model().objects.filter(pk=user.pk).exists()


def everything() -> dict[tuple[str, Any], dict[str, Any]]:
    """Every row of ours, but for what triggers make of them."""
    models = [model for model in apps.get_app_config("chat").get_models() if model is not SearchEntry]
    return {(model.__name__, row[model._meta.pk.attname]): row for model in models for row in model.objects.values()}


def test_what_others_have_said_and_made_stays_as_it_is(user: AbstractUser, other_user: AbstractUser) -> None:
    theirs, beside = ThreadFactory.create(owner=other_user), ThreadFactory.create(owner=other_user)
    said: dict[tuple[Thread, str], list[Any]] = {}
    for thread, who, turn_id in ((theirs, user, "a"), (theirs, other_user, "b"), (beside, other_user, "a")):
        turn = TurnFactory.create(thread=thread, user=who, turn_id=turn_id, request={"a": 1})
        asked = MessageFactory.create(thread=thread, author=who, turn_id=turn_id)
        answer = MessageFactory.create(thread=thread, turn_id=turn_id, role="assistant", parent=asked)
        usage = UsageFactory.create(turn=turn, message=answer)
        said[thread, turn_id] = [turn, asked, answer, usage]
    decided = {"status": "approved", "changed_input": {"to": "me"}, "decided_at": timezone.now()}
    ApprovalFactory.create(turn=turn, decided_by=other_user, **decided)
    CopilotChat.objects.create(user=other_user)
    QuotaCounter.objects.create(user=other_user, day=timezone.now().date(), tokens=5)
    TranscriptView.objects.create(viewer=other_user, kind="thread", seen="x")
    create_token(other_user.get_username())
    create_share(scope_of(other_user), beside.pk, None)
    give_feedback(scope_of(other_user), answer.pk, "up", "")
    save_attachment(scope_of(other_user), BytesIO(b"x"), filename="x", media_type="text/plain", size=1)
    mine = {ThreadFactory.create(owner=user, deleted_at=deleted_at).pk for deleted_at in (None, timezone.now())}
    before = everything()
    call_command("erase_user", user.get_username())
    after = everything()
    assert before.keys() - after.keys() == {("Thread", pk) for pk in mine}
    turn, *messages_and_usage = said[theirs, "a"]
    changed = {key for key in after if after[key] != before[key]}
    assert changed == {(type(one).__name__, one.pk) for one in (turn, *messages_and_usage)}
    turn.refresh_from_db()
    assert (turn.user_id, turn.request, turn.fingerprint, turn.turn_id) == (None, {}, "", f"erased-{turn.pk}")


def test_a_turn_in_the_thread_of_another_that_has_not_ended_is_left_and_told(
    user: AbstractUser, other_user: AbstractUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end writes what it knows, and what it answers has to be there until then."""
    monkeypatch.setattr(stop, "PATIENCE", 0.1)
    theirs = ThreadFactory.create(owner=other_user)
    said = {"parts": [{"type": "text", "text": PLANTED}], "turn_id": PLANTED}
    turn = TurnFactory.create(thread=theirs, user=user, turn_id=PLANTED, status="streaming")
    asked = MessageFactory.create(thread=theirs, author=user, **said)
    answer = MessageFactory.create(thread=theirs, parent=asked, role="assistant", **said | {"parts": []})
    before = everything()
    with pytest.raises(CommandError, match="still writing"):
        call_command("erase_user", user.get_username(), "--delete-account")
    (changed,) = {key for key, row in everything().items() if row != before[key]}
    assert changed == ("Turn", turn.pk)
    turn.refresh_from_db()
    assert turn.stop_requested_at
    turn.status = "stopped"
    turn.save()
    call_command("erase_user", user.get_username(), "--delete-account")
    assert found() == {}
    for message in (asked, answer):
        message.refresh_from_db()
        assert message.turn_id == f"erased-{turn.pk}"


def test_a_user_is_not_gone_while_anything_of_theirs_is_there(user: AbstractUser, other_user: AbstractUser) -> None:
    elsewhere = ThreadFactory.create(owner=other_user)
    makers: list[Callable[[AbstractUser], Any]] = [
        lambda who: ThreadFactory.create(owner=who),
        lambda who: CopilotChat.objects.create(user=who),
        lambda who: MessageFactory.create(author=who),
        lambda who: Attachment.objects.create(owner=who, key=f"of {who.pk}", size=0),
        lambda who: TurnFactory.create(thread=elsewhere, user=who),
    ]
    for make in makers:
        make(other_user)
        one = make(user)
        assert is_left(user.pk)
        one.delete()
        assert not is_left(user.pk)


def test_what_a_user_has_made_is_erased_some_at_a_time(user: AbstractUser) -> None:
    for _ in range(3):
        ThreadFactory.create(owner=user)
        CopilotChat.objects.create(user=user)
    for statement in (THREADS, CHATS):
        erased = [rows(statement, user=user.pk, batch=2)[0]["erased"] for _ in range(3)]
        assert erased == [2, 1, 0]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", said("t1", "/tokens 2000 5")),
        ("/api/copilot/chat", {"message": "/tokens 2000 5", "createNewChat": True}),
    ],
)
async def test_a_live_turn_ends_before_its_user_is_erased_and_its_usage_is_counted(
    client: Client, user: AbstractUser, path: str, body: dict[str, Any]
) -> None:
    async with client.stream("POST", path, body) as stream:
        await stream.until("text-delta")
        await sync_to_async(call_command)("erase_user", user.get_username())
        async for _ in stream.pieces():
            pass
    for model in (Message, CopilotChat, Turn):
        assert not await model.objects.aexists()
    assert (await TokenUsage.objects.aget()).total_tokens > 0
