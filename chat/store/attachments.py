"""Uploaded files: their rows here, their bytes in Django's storage ``CHAT_ATTACHMENT_STORAGE``.

Bytes are written before their row and taken away after it: what a crash leaves behind is a file that nobody can name,
or a row whose ``deleted_at`` tells the next sweep to go on.
"""

from __future__ import annotations

import base64
import logging
import re
import uuid
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, BinaryIO

from django.core.files.base import File
from django.core.files.storage import Storage, storages
from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver

from chat import conf
from chat.errors import AttachmentLimit, NotFound
from chat.models import Attachment
from chat.store.scope import VISIBLE_THREAD, Scope
from chat.store.sql import Row, one_transaction, row, rows
from chat.store.turns import StoredTurn
from chat.telemetry import event

logger = logging.getLogger(__name__)
COLUMNS = "chat_attachments.id, filename, media_type, size, chat_attachments.created_at, thread_id, key"
# How a file part names one, under whatever prefix the API stands.
ADDRESS = re.compile(r"/attachments/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/?$")
PIECE = 64 * 1024
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('chat attachments ' || %(user)s, 0))"
# Its owner, and who sees the thread that it belongs to.
SEEN = f"""
SELECT {COLUMNS} FROM chat_attachments LEFT JOIN chat_threads ON chat_threads.id = chat_attachments.thread_id
 WHERE chat_attachments.id = %(id)s AND chat_attachments.deleted_at IS NULL
   AND (chat_attachments.owner_id = %(scope_user)s OR {VISIBLE_THREAD})
"""


def storage() -> Storage:
    return storages[conf.get("ATTACHMENT_STORAGE")]


def save_attachment(scope: Scope, content: BinaryIO, *, filename: str, media_type: str, size: int) -> Row:
    """Keep a file of the asker's, whose type and size were looked at before.

    Race: many uploads of one user at once. They count one after the other, behind a lock of the user's, so no number of
    them goes over the limits. Raises AttachmentLimit.
    """
    key = storage().save(f"chat/{uuid.uuid4()}", File(content))
    try:
        with one_transaction():
            rows(LOCK, user=str(scope.user_id))
            made = row(
                f"""
                INSERT INTO chat_attachments (owner_id, key, filename, media_type, size)
                SELECT %(scope_user)s, %(key)s, %(filename)s, %(media_type)s, %(size)s
                 WHERE (SELECT count(*) < %(most)s AND coalesce(sum(size), 0) + %(size)s <= %(most_bytes)s
                          FROM chat_attachments WHERE owner_id = %(scope_user)s AND deleted_at IS NULL)
                RETURNING {COLUMNS}
                """,
                scope_user=scope.user_id,
                key=key,
                filename=filename,
                media_type=media_type,
                size=size,
                most=conf.get("ATTACHMENTS_OF_USER"),
                most_bytes=conf.get("ATTACHMENT_BYTES_OF_USER"),
            )
            if made is None:
                raise AttachmentLimit
            return made
    except BaseException:
        storage().delete(key)
        raise


def find_attachment(scope: Scope, pk: uuid.UUID) -> Row:
    """An attachment that the asker may read. Raises NotFound."""
    found = row(SEEN, id=pk, scope_user=scope.user_id)
    if found is None:
        raise NotFound
    return found


def pieces_of(attachment: Row) -> Iterator[bytes]:
    """Its bytes, of which the first piece has been read already: an answer that has begun cannot say that they are
    missing. Raises OSError where they cannot be read, of which FileNotFoundError: the storage has lost them.
    """
    pieces = _pieces(attachment)
    return chain(list(islice(pieces, 1)), pieces)


def _pieces(attachment: Row) -> Iterator[bytes]:
    with storage().open(attachment["key"]) as content:
        while piece := content.read(PIECE):
            yield piece


def delete_attachment(scope: Scope, pk: uuid.UUID) -> None:
    """Take a file of the asker's away; messages that name it stay. Raises NotFound, also for somebody else's."""
    marked = row(
        """
        UPDATE chat_attachments SET deleted_at = clock_timestamp()
         WHERE id = %(id)s AND owner_id = %(scope_user)s AND deleted_at IS NULL RETURNING id, key
        """,
        id=pk,
        scope_user=scope.user_id,
    )
    if marked is None:
        raise NotFound
    _sweep(marked)


def sweep_attachments() -> int:
    """Take away the bytes, and then the rows, of all attachments that were deleted; how many. May be run by several.
    Those that the storage does not give up stay for the next sweep, and keep none of the others.
    """
    swept, last = 0, uuid.UUID(int=0)
    while found := rows(
        """
        SELECT id, key FROM chat_attachments WHERE deleted_at IS NOT NULL AND id > %(last)s ORDER BY id LIMIT 100
        """,
        last=last,
    ):
        swept += sum(map(_sweep, found))
        last = found[-1]["id"]
    return swept


def _sweep(deleted: Row) -> bool:
    try:
        storage().delete(deleted["key"])
    except Exception as problem:  # of any kind: each storage has its own
        name = type(problem).__name__
        told = event("file_not_deleted", problem=name)
        logger.warning("the file %s could not be deleted: %s", deleted["key"], name, extra=told)
        return False
    rows("DELETE FROM chat_attachments WHERE id = %(id)s", id=deleted["id"])
    return True


@receiver(post_delete, sender=Attachment, dispatch_uid="chat.attachments")
def take_bytes_away(sender: type[Attachment], instance: Attachment, using: str, **signal: Any) -> None:
    """A row that Django deletes, as with the user it belongs to, takes its bytes with it, once that is committed. (A
    process that dies in between leaves a file that nobody can name.)
    """
    key = instance.key
    transaction.on_commit(lambda: storage().delete(key), using=using, robust=True)


def with_contents(messages: list[dict[str, Any]], turn: StoredTurn) -> list[dict[str, Any]]:
    """Messages for the model, in which the files that were attached here, or are the asker's own, are their content:
    the newest, up to CHAT_ATTACHMENT_MODEL_BYTES. One that cannot be read stays the address that it is: else no turn of
    the thread could run any more.
    """
    named = {name for message in messages for part in message["parts"] if (name := _named(part))}
    if not named:
        return messages
    found = {
        str(one["id"]): one
        for one in rows(
            f"""
            SELECT {COLUMNS} FROM chat_attachments
             WHERE id = ANY (%(ids)s::uuid[]) AND deleted_at IS NULL
               AND (thread_id = %(thread)s OR owner_id = %(user)s)
            """,
            ids=sorted(named),
            thread=turn.thread_id,
            user=turn.user_id,
        )
    }
    left = conf.get("ATTACHMENT_MODEL_BYTES")
    told = []
    for message in reversed(messages):
        parts = []
        for part in message["parts"]:
            one = found.get(_named(part) or "")
            if one is not None and one["size"] <= left and (content := _content(one, turn)) is not None:
                left -= one["size"]
                url = f"data:{one['media_type']};base64,{base64.b64encode(content).decode()}"
                part = part | {"url": url, "mediaType": one["media_type"]}
            parts.append(part)
        told.append(message | {"parts": parts})
    return told[::-1]


def _content(attachment: Row, turn: StoredTurn) -> bytes | None:
    try:
        return b"".join(pieces_of(attachment))
    except OSError as problem:
        name = type(problem).__name__
        told = event("attachment_unreadable", turn=turn.pk, problem=name)
        logger.warning("attachment %s cannot be read: %s", attachment["id"], name, extra=told)
        return None


def _named(part: Any) -> str | None:
    # What an import left may be no part at all.
    url = part.get("url") if isinstance(part, dict) and part.get("type") == "file" else None
    found = ADDRESS.search(url) if isinstance(url, str) and len(url) < 2000 else None
    return found[1] if found else None
