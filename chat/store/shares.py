"""Links that show a thread to whoever has them: a snapshot, which what is said later does not change."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Iterable
from typing import Any

from django.db.models.functions import Now

from chat import conf
from chat.errors import NotFound, ReadOnly, TooManyShares
from chat.models import Share
from chat.protocol.markdown import rendered_parts
from chat.protocol.snapshot import shareable
from chat.store.scope import OWNED_THREAD, Scope
from chat.store.sql import Row, decoded, encoded, one_transaction, row, rows
from chat.store.threads import read_thread

COLUMNS = "id, thread_id, created_at, expires_at, revoked_at"


def create_share(scope: Scope, thread_id: uuid.UUID, days: float | None) -> tuple[str, Row]:
    """A link to a thread of the asker's as it stands, good for so many days (None: until it is revoked): its secret,
    which cannot be read again, and its row. Answers that are not complete are left out. Their HTML is made here, once,
    and not whenever a stranger opens the link.

    Race: two at once where one of CHAT_SHARES_OF_USER is left. They are made one after the other, behind a lock of the
    user's. Raises ThreadNotFound; ReadOnly for a thread that the asker only sees; TooManyShares.
    """
    with one_transaction():
        thread = read_thread(scope, thread_id)
        if not row(
            f"SELECT 1 FROM chat_threads WHERE id = %(id)s AND {OWNED_THREAD} FOR KEY SHARE",
            id=thread_id,
            scope_user=scope.user_id,
        ):
            raise ReadOnly
        rows(LOCK, user=str(scope.user_id))
        rows(EMPTY_EXPIRED, scope_user=scope.user_id)
        if len(rows(GOOD, scope_user=scope.user_id)) >= conf.get("SHARES_OF_USER"):
            raise TooManyShares
        messages = [
            _shown(one, parts) for one in rows(SHOWN, thread=thread_id) if (parts := shareable(decoded(one["parts"])))
        ]
        secret = secrets.token_urlsafe(32)
        made = row(
            f"""
            INSERT INTO chat_shares (thread_id, owner_id, digest, snapshot, expires_at)
            VALUES (%(thread)s, %(scope_user)s, %(digest)s, %(snapshot)s::jsonb,
                    clock_timestamp() + make_interval(secs => %(days)s::float8 * 86400)) RETURNING {COLUMNS}
            """,
            thread=thread_id,
            scope_user=scope.user_id,
            digest=_digest(secret),
            snapshot=encoded({"title": thread["title"], "messages": messages}),
            days=days,
        )
        assert made is not None
        return secret, made


def list_shares(scope: Scope, thread_id: uuid.UUID) -> list[Row]:
    """The asker's links to a thread, newest first, revoked ones as well. Raises ThreadNotFound."""
    read_thread(scope, thread_id)
    return rows(
        f"""
        SELECT {COLUMNS} FROM chat_shares
         WHERE thread_id = %(thread)s AND owner_id = %(scope_user)s ORDER BY id DESC
        """,
        thread=thread_id,
        scope_user=scope.user_id,
    )


def revoke_share(scope: Scope, pk: int) -> None:
    """From now on the link shows nothing, and keeps nothing. Raises NotFound."""
    if not row(
        """
        UPDATE chat_shares SET revoked_at = coalesce(revoked_at, clock_timestamp()), snapshot = '{}'
         WHERE id = %(pk)s AND owner_id = %(scope_user)s RETURNING id
        """,
        pk=pk,
        scope_user=scope.user_id,
    ):
        raise NotFound


def revoke_shares(pks: Iterable[int]) -> None:
    """The same for these links, whosever they are."""
    Share.objects.filter(pk__in=list(pks), revoked_at__isnull=True).update(revoked_at=Now(), snapshot={})


def read_share(secret: str) -> dict[str, Any]:
    """What a link shows, to anybody: ``{title, messages, created_at}``. For the page an answer has the ``html`` of its
    texts as well, but in links of older versions. Raises NotFound, also for a link that was revoked or has expired, or
    whose thread was deleted.
    """
    found = row(
        """
        SELECT s.snapshot, s.created_at FROM chat_shares s JOIN chat_threads t ON t.id = s.thread_id
         WHERE s.digest = %(digest)s AND s.revoked_at IS NULL AND t.deleted_at IS NULL
           AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())
        """,
        digest=_digest(secret),
    )
    if found is None:
        raise NotFound
    return {**decoded(found["snapshot"]), "created_at": found["created_at"]}


def _shown(message: Row, parts: list[dict[str, Any]]) -> dict[str, Any]:
    shown = {"role": message["role"], "created_at": message["created_at"], "parts": parts}
    return shown | {"html": rendered_parts(parts)} if message["role"] == "assistant" else shown


def _digest(secret: str) -> str:
    # A fast hash will do: a secret is 256 random bits.
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('chat shares ' || %(user)s, 0))"
OF_USER = "owner_id = %(scope_user)s AND revoked_at IS NULL"
GOOD = f"SELECT id FROM chat_shares WHERE {OF_USER} AND (expires_at IS NULL OR expires_at > clock_timestamp())"
# Nobody will see it again, and it may be big.
EMPTY_EXPIRED = f"""
UPDATE chat_shares SET snapshot = '{{}}'
 WHERE {OF_USER} AND expires_at <= clock_timestamp() AND snapshot <> '{{}}'
"""
SHOWN = """
SELECT m.role, m.parts::text AS parts, m.created_at FROM chat_messages m
 WHERE m.thread_id = %(thread)s AND m.is_current AND m.deleted_at IS NULL AND m.role IN ('user', 'assistant')
   AND NOT (m.role = 'assistant' AND EXISTS (
       SELECT FROM chat_turns t WHERE t.thread_id = m.thread_id AND t.turn_id = m.turn_id
          AND t.status IN ('streaming', 'awaiting_approval')))
 ORDER BY m.id
"""
