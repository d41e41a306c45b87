"""Uploaded files: what is taken, who reads them, what a model is told, and where they end."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.core.management import call_command
from django.db import transaction

from chat.errors import AttachmentLimit
from chat.models import Attachment, Turn
from chat.store.attachments import delete_attachment, save_attachment, storage, sweep_attachments
from chat.store.history import read_history
from chat.store.scope import Scope
from chat.store.turns import read_turn
from chat.testing.client import Client, Response, said
from tests.races import race

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]
FIELD = b'--edge\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--edge--'
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 60


async def upload(client: Client, content: bytes, name: str = "a.txt", kind: str = "text/html") -> Response:
    body = b"".join(
        [
            b'--edge\r\nContent-Disposition: form-data; name="file"; filename="',
            name.encode(),
            b'"\r\nContent-Type: ' + kind.encode() + b"\r\n\r\n",
            content,
            b"\r\n--edge--\r\n",
        ]
    )
    return await client.request(
        "POST", "/api/attachments/", body, {"content-type": "multipart/form-data; boundary=edge"}
    )


@pytest.fixture(autouse=True)
def _empty_storage() -> None:
    """Of what other tests have left."""
    for key in storage().listdir("chat")[1] if storage().exists("chat") else []:
        storage().delete(f"chat/{key}")


@pytest.mark.parametrize(
    ("content", "media_type", "inline"),
    [
        (PNG, "image/png", True),
        (b"GIF89a" + b"\x00" * 20, "image/gif", True),
        (b"%PDF-1.7 ...", "application/pdf", False),
        (b"hello \xc3\xa4", "text/plain", False),
        (b"<svg xmlns='x'><script>alert(1)</script></svg>", "text/plain", False),
        (b"<html><script>alert(1)</script>", "text/plain", False),
    ],
)
async def test_a_file_is_what_its_bytes_say_and_runs_nothing(
    client: Client, content: bytes, media_type: str, inline: bool
) -> None:
    kept = (await upload(client, content, "../../etc/\u00fcber.html")).json()
    assert (kept["media_type"], kept["size"], kept["filename"]) == (media_type, len(content), "\u00fcber.html")
    read = await client.request("GET", kept["part"]["url"])
    assert (read.status, read.body, read.headers["content-type"]) == (200, content, media_type)
    assert read.headers["content-disposition"].startswith("inline" if inline else "attachment")
    assert read.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in read.headers["content-security-policy"]


@pytest.mark.parametrize(
    "name",
    [
        b'filename="a\r\nSet-Cookie: x=1.txt"',
        b'filename="a\nSet-Cookie: x=1.txt"',
        b'filename="a\rSet-Cookie: x=1.txt"',
        b"filename*=utf-8''a%0D%0ASet-Cookie:%20x=1.txt",
    ],
)
async def test_a_line_break_in_a_file_s_name_makes_no_header(client: Client, name: bytes) -> None:
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; ' + name + b"\r\nContent-Type: text/plain\r\n\r\n"
    kind = {"content-type": "multipart/form-data; boundary=edge"}
    kept = await client.request("POST", "/api/attachments/", head + b"The plan\r\n--edge--\r\n", kind)
    if kept.status == 400:
        assert kept.json()["error"]["field"] == "file"
        return
    assert kept.status == 201
    assert kept.json()["filename"].isprintable()
    read = await client.request("GET", kept.json()["part"]["url"])
    assert (read.status, read.body) == (200, b"The plan")
    assert "set-cookie" not in read.headers
    assert read.headers["content-disposition"].isprintable()


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "invalid"),
        (b"MZ\x90\x00" + b"\x00" * 200, 415, "unsupported_type"),
        (b"\x00\x01\x02", 415, "unsupported_type"),
        (b"text" * 40_000 + b"\xff", 415, "unsupported_type"),
        (b"text" * 40_000 + b"\xc3", 415, "unsupported_type"),
        (b"x" * 300_000, 413, "body_too_large"),
    ],
)
async def test_what_is_not_taken_leaves_nothing(
    client: Client, settings: Any, content: bytes, status: int, code: str
) -> None:
    settings.CHAT_ATTACHMENT_BYTES = 200_000
    refused = await upload(client, content)
    assert (refused.status, refused.json()["error"]["code"]) == (status, code)
    assert not await Attachment.objects.aexists()
    assert not storage().exists("chat") or storage().listdir("chat")[1] == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", "application/json"),
        (b"", "multipart/form-data; boundary=edge"),
        (b"--edge", "multipart/form-data"),
        (b"x" * 100, "multipart/form-data; boundary=\xc3\xa4"),
        (FIELD, "multipart/form-data; boundary=edge"),
    ],
)
async def test_a_body_without_a_file_is_a_400(client: Client, body: bytes, kind: str) -> None:
    refused = await client.request("POST", "/api/attachments/", body, {"content-type": kind})
    assert (refused.status, refused.json()["error"]["field"]) == (400, "file")


async def test_the_message_that_names_a_file_attaches_it_and_its_content_goes_to_the_model(
    client: Client, other_client: Client, asker: Scope
) -> None:
    kept = (await upload(client, b"The secret plan")).json()
    stolen = (await upload(other_client, b"Not yours")).json()
    body = said("t1", "/tokens 1 0")
    body["messages"][0]["parts"] += [kept["part"], stolen["part"]]
    assert (await client.request("POST", "/api/chat", body)).status == 200
    turn = await Turn.objects.aget()
    attached = await Attachment.objects.aget(pk=kept["id"])
    assert attached.thread_id == turn.thread_id
    assert (await Attachment.objects.aget(pk=stolen["id"])).thread_id is None
    stored = (await client.request("GET", "/api/threads/t1/messages/")).json()["results"][0]["parts"]
    assert stored[1] == kept["part"]
    _, message = await sync_to_async(read_history)(await sync_to_async(read_turn)(asker, turn.pk), 10)
    assert message["parts"][1]["url"] == "data:text/plain;base64,VGhlIHNlY3JldCBwbGFu"
    assert message["parts"][2]["url"] == stolen["part"]["url"]


@pytest.mark.usefixtures("teams", "mates")
async def test_who_sees_the_thread_reads_its_files_and_nobody_else(client: Client, other_client: Client) -> None:
    kept = (await upload(client, b"The plan")).json()
    url = kept["part"]["url"]
    assert (await other_client.request("GET", url)).status == 404
    body = said("t1", "/tokens 1 0")
    body["messages"][0]["parts"].append(kept["part"])
    await client.request("POST", "/api/chat", body)
    assert (await other_client.request("GET", url)).body == b"The plan"
    assert (await other_client.request("DELETE", url)).status == 404
    assert (await client.request("DELETE", url)).status == 204
    assert (await client.request("GET", url)).status == 404
    assert storage().listdir("chat")[1] == []


async def test_a_file_that_the_storage_has_lost_is_a_404_and_its_thread_goes_on(client: Client, asker: Scope) -> None:
    kept = (await upload(client, b"The plan")).json()
    body = said("t1", "/tokens 1 0")
    body["messages"][0]["parts"].append(kept["part"])
    await client.request("POST", "/api/chat", body)
    storage().delete((await Attachment.objects.aget()).key)
    missing = await client.request("GET", kept["part"]["url"])
    assert (missing.status, missing.json()["error"]["code"]) == (404, "not_found")
    await client.send("t1", "/tokens 1 0")
    turn = await Turn.objects.alatest("pk")
    assert turn.status == "completed"
    history, _ = await sync_to_async(read_history)(await sync_to_async(read_turn)(asker, turn.pk), 10)
    assert history[0]["parts"][1] == kept["part"]


async def test_the_files_of_a_purged_thread_are_gone(client: Client) -> None:
    kept = (await upload(client, b"The plan")).json()
    body = said("t1", "/tokens 1 0")
    body["messages"][0]["parts"].append(kept["part"])
    await client.request("POST", "/api/chat", body)
    await client.request("DELETE", "/api/threads/t1/")
    await client.request("POST", "/api/threads/t1/purge/")
    assert (await client.request("GET", kept["part"]["url"])).status == 404
    await sync_to_async(call_command)("purge_threads")
    assert storage().listdir("chat")[1] == []
    assert not await Attachment.objects.aexists()


def test_no_number_of_uploads_at_once_goes_over_the_limit(
    asker: Scope, other_user: AbstractUser, settings: Any
) -> None:
    settings.CHAT_ATTACHMENTS_OF_USER = 3
    for theirs in (Scope(other_user.pk), asker):  # what others keep, and what one keeps no more, does not count
        save_attachment(theirs, BytesIO(b"x"), filename="a", media_type="text/plain", size=1)
    delete_attachment(asker, Attachment.objects.get(owner=asker.user_id).pk)

    def keep() -> object:
        return save_attachment(asker, BytesIO(b"x"), filename="a", media_type="text/plain", size=1)

    assert sum(isinstance(outcome, AttachmentLimit) for outcome in race([keep] * 8)) == 5
    assert Attachment.objects.filter(owner=asker.user_id, deleted_at=None).count() == 3
    assert len(storage().listdir("chat")[1]) == Attachment.objects.count()


def test_a_sweep_goes_on_where_a_crash_left_off(asker: Scope) -> None:
    kept = save_attachment(asker, BytesIO(b"x"), filename="a", media_type="text/plain", size=1)
    Attachment.objects.update(deleted_at="2026-01-01T00:00:00Z")
    storage().delete(kept["key"])
    assert sweep_attachments() == 1
    assert not Attachment.objects.exists()


async def test_deleting_a_file_waits_for_no_other_and_a_sweep_passes_by_what_the_storage_keeps(
    client: Client, asker: Scope, settings: Any, tmp_path: Path
) -> None:
    own = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(tmp_path)}}
    settings.STORAGES = settings.STORAGES | {"default": own}
    kept = [(await upload(client, b"x")).json()["part"]["url"] for _ in range(4)]
    stuck, other, *deleted = [one async for one in Attachment.objects.order_by("id")]
    (tmp_path / stuck.key).unlink()
    (tmp_path / stuck.key / "in the way").mkdir(parents=True)  # which no storage takes away with it
    await Attachment.objects.filter(pk__in=[one.pk for one in deleted]).aupdate(deleted_at="2026-01-01T00:00:00Z")
    for one in (stuck, other):
        (url,) = (url for url in kept if str(one.pk) in url)
        assert (await client.request("DELETE", url)).status == 204
        assert (await client.request("GET", url)).status == 404
    assert {one.pk async for one in Attachment.objects.all()} == {stuck.pk, *(one.pk for one in deleted)}
    assert await sync_to_async(sweep_attachments)() == 2
    assert (await Attachment.objects.aget()).pk == stuck.pk
    (tmp_path / stuck.key / "in the way").rmdir()
    assert await sync_to_async(sweep_attachments)() == 1


def test_a_user_whom_django_deletes_takes_the_bytes_along_and_one_who_stays_after_all_keeps_them(
    asker: Scope, user: AbstractUser
) -> None:
    keys = [
        save_attachment(asker, BytesIO(b"x"), filename="x", media_type="text/plain", size=1)["key"] for _ in range(2)
    ]
    with transaction.atomic():
        user.delete()
        transaction.set_rollback(True)
    assert all(map(storage().exists, keys))
    get_user_model().objects.get(pk=asker.user_id).delete()
    assert not any(map(storage().exists, keys))
