"""A user who is erased leaves nothing behind: a planted string is looked for in every table, file and log."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from chat.access.scopes import scope_of
from chat.models import Message, Thread, TokenUsage, TranscriptView, Turn
from chat.store.approvals import read_calls
from chat.store.attachments import save_attachment, storage
from chat.store.feedback import give_feedback
from chat.store.shares import create_share
from chat.store.threads import find_thread
from chat.store.tokens import create_token
from chat.testing.client import Client
from tests.factories import ApprovalFactory, MessageFactory, ThreadFactory, TurnFactory
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
    await sync_to_async(call_command)("erase_user", user.get_username(), "--json")
    report = json.loads(capsys.readouterr().out)
    assert await sync_to_async(found)() == {}
    assert await sync_to_async(files)() == []
    assert not await Thread.objects.filter(owner=user).aexists()

    assert await TokenUsage.objects.acount() == used
    assert not await TokenUsage.objects.filter(user=user).aexists()
    expected = {"threads": 2, "copilot_chats": 1, "attachments": 1, "attachment_bytes": 13, "shares": 2, "feedback": 1}
    assert {name: report[name] for name in expected} == expected
    assert (report["tokens"], report["messages_elsewhere"], report["turns_elsewhere"]) == (2, 1, 1)
    assert report["usage_kept"] == used - 1
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
    call_command("erase_user", user.get_username())
    assert found() == {}
    told = {call.pk: (call.status, call.error) for call in read_calls(waiting.pk)}
    assert told == {
        changed.pk: ("denied", ""),
        allowed.pk: ("approved", ""),
        said.pk: ("answered", "[erased]"),
        failed.pk: ("answered", "[erased]"),
    }


def test_a_file_that_the_storage_keeps_is_told_and_keeps_the_account(user: AbstractUser, tmp_path: Path) -> None:
    content = BytesIO(PLANTED.encode())
    key = save_attachment(scope_of(user), content, filename="x", media_type="text/plain", size=13)["key"]
    (tmp_path / key).unlink()
    (tmp_path / key / "in the way").mkdir(parents=True)
    with pytest.raises(CommandError, match="Something is left"):
        call_command("erase_user", user.get_username(), "--delete-account")
    assert get_user_model().objects.filter(pk=user.pk).exists()
    (tmp_path / key / "in the way").rmdir()
    call_command("erase_user", user.get_username(), "--delete-account")
    assert files() == []
    assert not get_user_model().objects.filter(pk=user.pk).exists()


async def test_a_live_turn_writes_nothing_after_its_user_is_erased(client: Client, user: AbstractUser) -> None:
    async with client.stream("POST", "/api/chat", {"id": "t1", "messages": [_said("/tokens 2000 5")]}) as stream:
        await stream.begun()
        await sync_to_async(call_command)("erase_user", user.get_username())
        async for _ in stream.pieces():
            pass
    assert not await Message.objects.aexists()
    assert not await Turn.objects.aexists()


def _said(text: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"type": "text", "text": text}]}
