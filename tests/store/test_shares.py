"""Links to threads, beside others: what they show, and whose they are."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Any

import pytest

from chat.errors import NotFound, ReadOnly
from chat.models import Message, Share, Thread
from chat.store.scope import Scope
from chat.store.shares import create_share, list_shares, read_share, revoke_share, revoke_shares
from chat.store.sql import rows
from tests.factories import MessageFactory, ThreadFactory, TurnFactory

pytestmark = pytest.mark.django_db
PAST = "2026-01-01T00:00:00Z"


def made(asker: Scope) -> Thread:
    thread: Thread = ThreadFactory.create(owner_id=asker.user_id)
    return thread


def said(thread: Thread, text: str, **keys: Any) -> Message:
    message: Message = MessageFactory.create(thread=thread, parts=[{"type": "text", "text": text}], **keys)
    return message


def test_a_link_shows_the_current_messages_of_its_thread_in_order(asker: Scope) -> None:
    thread, beside = made(asker), made(asker)
    TurnFactory.create(thread=thread, turn_id="a")
    TurnFactory.create(thread=thread, turn_id="b", status="awaiting_approval")
    TurnFactory.create(thread=beside, turn_id="a", status="streaming")
    question = said(thread, "Hello", turn_id="a")
    said(thread, "Hi", turn_id="a", role="assistant")
    said(thread, "half", turn_id="b", role="assistant")
    said(thread, "replaced", is_current=False)
    said(thread, "deleted", deleted_at=PAST)
    said(thread, "instructions", role="system")
    said(beside, "beside")
    for index in ("enable_indexscan", "enable_bitmapscan"):
        rows(f"SET LOCAL {index} = off")
    rows("UPDATE chat_messages SET model = 'x' WHERE id = %(pk)s", pk=question.pk)  # lies behind the others now
    secret, _ = create_share(asker, thread.pk, None)
    assert [message["parts"][0]["text"] for message in read_share(secret)["messages"]] == ["Hello", "Hi"]
    assert len(urlsafe_b64decode(secret + "=")) * 8 == 256, "nobody guesses it"


@pytest.mark.usefixtures("everybody_reads")
def test_links_are_listed_and_revoked_by_who_made_them_and_made_by_the_owner(asker: Scope, other: Scope) -> None:
    thread, beside, theirs = made(asker), made(asker), made(other)
    (_, first), (secret, second) = (create_share(asker, thread.pk, None) for _ in range(2))
    kept, _ = create_share(asker, beside.pk, None)
    create_share(other, theirs.pk, None)
    assert [one["id"] for one in list_shares(asker, thread.pk)] == [second["id"], first["id"]]
    assert list_shares(other, thread.pk) == []
    with pytest.raises(ReadOnly):
        create_share(other, thread.pk, None)
    with pytest.raises(NotFound):
        revoke_share(other, first["id"])
    revoke_share(asker, second["id"])
    with pytest.raises(NotFound):
        read_share(secret)
    assert read_share(kept)
    assert Share.objects.filter(revoked_at=None).count() == 3


def test_an_expired_link_is_emptied_when_its_owner_makes_another(asker: Scope, other: Scope) -> None:
    for scope in (asker, other):
        create_share(scope, made(scope).pk, 1)
    Share.objects.update(expires_at=PAST)
    create_share(asker, made(asker).pk, None)
    assert set(Share.objects.filter(snapshot={}).values_list("owner", flat=True)) == {asker.user_id}


def test_links_that_the_staff_revokes_were_revoked_when_they_were_first(asker: Scope) -> None:
    thread = made(asker)
    before, now, kept = (create_share(asker, thread.pk, None)[1]["id"] for _ in range(3))
    Share.objects.filter(pk=before).update(revoked_at=PAST)
    revoke_shares([before, now])
    revoked = dict(Share.objects.values_list("pk", "revoked_at"))
    assert revoked[before].isoformat() == "2026-01-01T00:00:00+00:00"
    assert revoked[now] is not None
    assert revoked[kept] is None
    assert set(Share.objects.exclude(snapshot={}).values_list("pk", flat=True)) == {before, kept}
