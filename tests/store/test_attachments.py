"""Files, beside others: what counts, what is swept, and what a model is given."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.utils import timezone

from chat.errors import AttachmentLimit, NotFound
from chat.models import Attachment
from chat.store.attachments import (
    delete_attachment,
    find_attachment,
    save_attachment,
    storage,
    sweep_attachments,
    with_contents,
)
from chat.store.scope import Scope
from chat.store.sql import rows
from chat.store.turns import read_turn
from tests.factories import ThreadFactory, TurnFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def files(settings: Any, tmp_path: Path) -> Path:
    own = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(tmp_path)}}
    settings.STORAGES = settings.STORAGES | {"default": own}
    return tmp_path


def kept(asker: Scope, content: bytes = b"x", *, deleted: bool = False) -> Attachment:
    made = save_attachment(asker, BytesIO(content), filename="a", media_type="text/plain", size=len(content))
    if deleted:
        Attachment.objects.filter(pk=made["id"]).update(deleted_at=timezone.now())
    return Attachment.objects.get(pk=made["id"])


def get_stuck(files: Path, attachment: Attachment) -> None:
    """What no storage takes away stands in the place of its bytes."""
    (files / attachment.key).unlink()
    (files / attachment.key / "in the way").mkdir(parents=True)


def test_a_user_keeps_bytes_up_to_the_limit_of_which_no_deleted_one_and_no_other_s_counts(
    asker: Scope, other: Scope, settings: Any
) -> None:
    settings.CHAT_ATTACHMENT_BYTES_OF_USER, settings.CHAT_ATTACHMENTS_OF_USER = 10, 2
    kept(other, b"x" * 10)
    kept(asker, b"x" * 10, deleted=True)
    kept(asker, b"x" * 4)
    with pytest.raises(AttachmentLimit):
        kept(asker, b"x" * 7)
    kept(asker, b"x" * 6)


def test_a_file_is_found_and_deleted_once_and_alone(asker: Scope) -> None:
    beside, one, gone = kept(asker), kept(asker), kept(asker, deleted=True)
    assert find_attachment(asker, one.pk)["key"] == one.key
    delete_attachment(asker, one.pk)
    for pk in (one.pk, gone.pk):
        with pytest.raises(NotFound):
            find_attachment(asker, pk)
        with pytest.raises(NotFound):
            delete_attachment(asker, pk)
    assert set(Attachment.objects.values_list("pk", "deleted_at")) == {(beside.pk, None), (gone.pk, gone.deleted_at)}


@pytest.mark.timeout(20)
def test_a_sweep_takes_all_that_was_deleted_however_it_lies_and_nothing_else(asker: Scope) -> None:
    there = kept(asker)
    rows(
        """
        INSERT INTO chat_attachments (id, owner_id, key, filename, media_type, size, deleted_at)
        SELECT lpad(n::text, 32, '0')::uuid, %(owner)s, 'chat/none ' || n, '', '', 1, now()
          FROM generate_series(101, 1, -1) n
        """,
        owner=asker.user_id,
    )
    for index in ("enable_indexscan", "enable_bitmapscan"):
        rows(f"SET LOCAL {index} = off")
    assert sweep_attachments() == 101
    assert list(Attachment.objects.all()) == [there]
    assert storage().exists(there.key)


@pytest.mark.timeout(20)
def test_a_sweep_tries_once_what_the_storage_keeps_though_it_comes_last(
    asker: Scope, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    *_, last = sorted((kept(asker, deleted=True) for _ in range(3)), key=lambda one: one.pk)
    get_stuck(files, last)
    assert sweep_attachments() == 2
    assert caplog.text.count("could not be deleted") == 1
    assert Attachment.objects.get() == last


@pytest.mark.django_db(transaction=True)
def test_a_user_whom_django_deletes_is_gone_though_the_storage_keeps_a_file(
    asker: Scope, user: AbstractUser, files: Path
) -> None:
    stuck, other = kept(asker), kept(asker)
    get_stuck(files, stuck)
    user.delete()
    assert not Attachment.objects.exists()
    assert not storage().exists(other.key)


def test_a_model_is_given_the_newest_files_that_fit_and_other_parts_as_they_are(asker: Scope, settings: Any) -> None:
    settings.CHAT_ATTACHMENT_MODEL_BYTES = 4
    turn = TurnFactory.create(thread=ThreadFactory.create(owner_id=asker.user_id))
    oldest, older, newest = kept(asker, b"o"), kept(asker, b"ol"), kept(asker, b"ne")
    gone = kept(asker, b"", deleted=True)

    def named(one: Attachment, kind: str = "file") -> dict[str, str]:
        return {"type": kind, "url": f"/api/attachments/{one.pk}/"}

    odd = ["no part", {"type": "file"}, {"type": "file", "url": 5}, {"type": "text", "text": "Look"}]
    odd += [named(newest, "source-url"), named(gone)]
    messages = [{"parts": [named(oldest)]}, {"parts": [named(older)]}, {"parts": [*odd, named(newest)]}]
    told = [one["parts"] for one in with_contents(messages, read_turn(asker, turn.pk))]
    data = [
        {"type": "file", "url": f"data:text/plain;base64,{content}", "mediaType": "text/plain"}
        for content in ("b2w=", "bmU=")
    ]
    assert told == [[named(oldest)], [data[0]], [*odd, data[1]]]
