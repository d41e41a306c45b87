"""Threads and the trash: by which name, whose they are, beside others that have the same name."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from chat.errors import ThreadNotFound
from chat.models import Thread
from chat.store.scope import Scope
from chat.store.search import NEWEST, search
from chat.store.sql import Row, rows
from chat.store.threads import (
    ThreadPosition,
    create_thread,
    delete_thread,
    find_thread,
    list_threads,
    open_thread,
    read_thread,
    replace_title,
    require_not_deleted,
    update_thread,
)
from chat.store.trash import deleted_threads, find_deleted_thread, purge_thread, restore_thread
from tests.factories import MessageFactory, ThreadFactory

pytestmark = pytest.mark.django_db
PAST = "2026-01-01T00:00:00Z"


def made(asker: Scope, client_id: str | None = None, **keys: Any) -> Thread:
    thread: Thread = ThreadFactory.create(owner_id=asker.user_id, client_id=client_id, **keys)
    return thread


def in_trash() -> set[uuid.UUID]:
    return set(Thread.objects.exclude(deleted_at=None).values_list("pk", flat=True))


def test_a_thread_s_own_id_goes_before_a_name_that_looks_like_it(asker: Scope) -> None:
    itself = uuid.uuid4()
    named = made(asker, str(itself))
    made(asker, pk=itself)
    assert find_thread(asker, str(itself)) == itself
    assert find_thread(asker, str(named.pk)) == named.pk


def test_nobody_finds_what_was_deleted_or_is_another_s(asker: Scope, other: Scope) -> None:
    made(asker, "mine")
    gone, theirs = made(asker, "gone", deleted_at=PAST), made(other, "theirs")
    for name in ("gone", str(gone.pk), "theirs", str(theirs.pk), "unknown"):
        with pytest.raises(ThreadNotFound):
            find_thread(asker, name)
    for pk in (gone.pk, theirs.pk):
        with pytest.raises(ThreadNotFound):
            read_thread(asker, pk)


def test_a_name_makes_one_thread_and_another_s_id_is_only_a_name(asker: Scope, other: Scope) -> None:
    mine, theirs = open_thread(asker, "mine"), made(other)
    assert open_thread(asker, "mine") == open_thread(asker, str(mine)) == mine
    named = open_thread(asker, str(theirs.pk))
    assert read_thread(asker, named)["client_id"] == str(theirs.pk)
    delete_thread(asker, mine)
    for name in ("mine", str(mine)):
        with pytest.raises(ThreadNotFound, match="deleted"):
            open_thread(asker, name)
    assert Thread.objects.filter(owner=asker.user_id).count() == 2


def test_a_name_is_not_deleted_because_another_is_or_another_s(asker: Scope, other: Scope) -> None:
    made(asker, "mine")
    made(asker, "gone", deleted_at=PAST)
    made(other, "mine", deleted_at=PAST)
    require_not_deleted(asker, "mine")
    with pytest.raises(ThreadNotFound):
        require_not_deleted(asker, "gone")


def test_a_thread_that_is_made_again_under_its_name_takes_what_is_said_of_it_and_loses_nothing(asker: Scope) -> None:
    first = create_thread(asker, client_id="mine", title="Plans")
    assert first["title"] == "Plans"
    both = create_thread(asker, client_id="mine", metadata={"team": 7})
    assert (both["id"], both["title"], both["metadata"]) == (first["id"], "Plans", {"team": 7})
    assert create_thread(asker, client_id="mine") == both


def test_what_is_done_to_a_thread_is_done_to_no_other_and_to_none_that_was_deleted(asker: Scope) -> None:
    kept, changed, gone = made(asker), made(asker, metadata={"a": 1}), made(asker, deleted_at=PAST)
    before = Thread.objects.filter(pk__in=[kept.pk, gone.pk]).order_by("pk").values()
    expected = list(before)
    assert update_thread(asker, changed.pk, metadata={"b": 2})["metadata"] == {"b": 2}
    assert read_thread(asker, changed.pk)["id"] == changed.pk
    delete_thread(asker, changed.pk)
    for act in (
        lambda: delete_thread(asker, changed.pk),
        lambda: update_thread(asker, gone.pk, metadata={"b": 2}),
        lambda: update_thread(asker, gone.pk, title="x"),
    ):
        with pytest.raises(ThreadNotFound):
            act()
    assert list(before.all()) == expected


def test_a_title_is_replaced_where_it_is_still_the_one_that_it_was_given_by_itself(asker: Scope) -> None:
    thread, beside, named = made(asker, title="Hello"), made(asker, title="Hello"), made(asker, title="Mine")
    gone = made(asker, title="Hello", deleted_at=PAST)
    assert replace_title(thread.pk, "Greeting", instead_of="Hello")
    for one in (named, gone):
        assert not replace_title(one.pk, "Greeting", instead_of="Hello")
    titles = {one.pk: one.title for one in Thread.objects.all()}
    assert titles == {thread.pk: "Greeting", beside.pk: "Hello", named.pk: "Mine", gone.pk: "Hello"}


@pytest.mark.usefixtures("everybody_reads")
def test_a_list_holds_what_others_share_but_where_it_is_to_be_the_asker_s_own(asker: Scope, other: Scope) -> None:
    mine, theirs = made(asker), made(other)
    made(asker, archived_at=PAST)
    assert {one["id"]: one["may_write"] for one in list_threads(asker)} == {mine.pk: True, theirs.pk: False}
    assert [one["id"] for one in list_threads(asker, mine=True)] == [mine.pk]


@pytest.mark.parametrize(("pages", "deleted_at"), [(list_threads, None), (deleted_threads, PAST)])
def test_a_page_begins_behind_the_last_thread_of_the_one_before(
    asker: Scope, pages: Callable[..., list[Row]], deleted_at: str | None
) -> None:
    for number, day in ((2, 1), (1, 1), (3, 2), (4, 0)):
        made(asker, pk=uuid.UUID(int=number), updated_at=f"2026-02-0{day + 1}T00:00:00Z", deleted_at=deleted_at)
    first = pages(asker, limit=2)
    following = pages(asker, limit=3, after=ThreadPosition(first[-1]["updated_at"], first[-1]["id"]))
    assert [[one["id"].int for one in page] for page in (first, following)] == [[3, 1], [2, 4]]


def test_a_list_finds_the_words_of_a_title_in_any_order(asker: Scope) -> None:
    made(asker, title="Others")
    thread = made(asker, title="The old harbour")
    assert [one["id"] for one in list_threads(asker, q="harbour old")] == [thread.pk]


def test_a_list_finds_no_thread_by_what_was_replaced_or_deleted(asker: Scope) -> None:
    parts = [{"type": "text", "text": "harbour"}]
    replaced, deleted, there = (made(asker) for _ in range(3))
    MessageFactory.create(thread=replaced, parts=parts, is_current=False)
    MessageFactory.create(thread=deleted, parts=parts, deleted_at=PAST)
    MessageFactory.create(thread=there, parts=parts)
    assert [one["id"] for one in list_threads(asker, q="harbour")] == [there.pk]


def test_what_is_looked_through_is_the_newest_of_what_the_asker_may_see(asker: Scope, other: Scope) -> None:
    old, new, theirs = made(asker), made(asker), made(other)
    for thread, count in ((old, 1), (new, NEWEST), (theirs, NEWEST)):
        rows(
            """
            INSERT INTO chat_messages (thread_id, role, parts)
            SELECT %(thread)s, 'user', '[{"type": "text", "text": "harbour"}]' FROM generate_series(1, %(count)s)
            """,
            thread=thread.pk,
            count=count,
        )
    assert [one["id"] for one in list_threads(asker, q="harbour")] == [new.pk]
    assert [hit["thread_id"] for hit in search(asker, "harbour", limit=NEWEST + 1)] == [new.pk] * NEWEST


def test_only_what_is_named_comes_back_from_the_trash(asker: Scope, other: Scope) -> None:
    theirs, live = made(other, "live"), made(asker, "live")
    kept, gone = made(asker, "kept", deleted_at=PAST), made(asker, "gone", deleted_at=PAST)
    others = made(other, "gone", deleted_at=PAST)
    for name in ("unknown", str(theirs.pk), str(others.pk)):
        with pytest.raises(ThreadNotFound):
            restore_thread(asker, name)
    assert restore_thread(asker, "live")["id"] == live.pk
    assert restore_thread(asker, "gone")["id"] == gone.pk
    assert in_trash() == {kept.pk, others.pk}


def test_only_what_is_named_is_purged_from_the_asker_s_trash(asker: Scope, other: Scope) -> None:
    kept, live = made(asker, "kept", deleted_at=PAST), made(asker, "live")
    made(asker, "gone", deleted_at=PAST)
    others = made(other, "gone", deleted_at=PAST)
    for name in ("unknown", "live", str(others.pk)):
        with pytest.raises(ThreadNotFound):
            find_deleted_thread(asker, name)
    for thread in (live.pk, others.pk):
        purge_thread(asker, thread)
    purge_thread(asker, find_deleted_thread(asker, "gone"))
    assert set(Thread.objects.values_list("pk", flat=True)) == {kept.pk, live.pk, others.pk}
