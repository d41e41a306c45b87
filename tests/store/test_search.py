"""Search: what is found, for whom, how it is shown, and by which index."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.core.management import call_command
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.models import Message, SearchEntry, Thread
from chat.store.scope import Scope
from chat.store.search import HITS, HitPosition, query_of, search
from chat.store.sql import rows
from chat.store.threads import list_threads
from tests.factories import MessageFactory, ThreadFactory

pytestmark = pytest.mark.django_db


def said(thread: Thread, text: str, **keys: Any) -> Message:
    return MessageFactory.create(thread=thread, parts=[{"type": "text", "text": text}], **keys)


def found(asker: Scope, q: str) -> list[str]:
    return [hit["snippet"] for hit in search(asker, q)]


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("harbour", True),
        ("HARBOUR", True),
        ("harb", True),
        ("arbour", False),
        ("old harbour", True),
        ("old h", True),
        ("harbour zoo", False),
        ('"old harbour"', True),
        ('"harbour old"', False),
        ("zoo or harbour", True),
        ("old -harbour", False),
        ("Straße", True),
        ("港口", True),
    ],
)
def test_words_phrases_and_beginnings_are_found(asker: Scope, q: str, expected: bool) -> None:
    said(ThreadFactory.create(owner_id=asker.user_id), "Down by the old harbour, in der Straße, 港口 …")
    assert bool(found(asker, q)) is expected


def test_a_title_is_found_and_comes_before_messages(asker: Scope) -> None:
    said(ThreadFactory.create(owner_id=asker.user_id, title="Others"), "harbour")
    titled = ThreadFactory.create(owner_id=asker.user_id, title="The harbour")
    said(ThreadFactory.create(owner_id=asker.user_id, title="Others"), "harbour")
    hits = search(asker, "harbour")
    assert [(hit["thread_id"], hit["message_id"]) for hit in hits][:1] == [(titled.pk, None)]
    assert len(hits) == 3
    titled.title = "Something else"
    titled.save()
    assert len(search(asker, "harbour")) == 2


def test_nobody_finds_what_is_not_theirs_nor_what_is_gone(asker: Scope, other_user: AbstractUser) -> None:
    mine, theirs = ThreadFactory.create(owner_id=asker.user_id), ThreadFactory.create(owner=other_user)
    said(theirs, "harbour")
    said(mine, "harbour", is_current=False)
    said(mine, "harbour", deleted_at="2026-01-01T00:00:00Z")
    assert found(asker, "harbour") == []
    shown = said(mine, "harbour")
    assert len(found(asker, "harbour")) == 1
    assert [one["id"] for one in list_threads(asker, q="harbour")] == [mine.pk]
    shown.parts = [{"type": "text", "text": "port"}, {"type": "reasoning", "text": "harbour"}]
    shown.save()
    assert found(asker, "harbour") == []
    shown.parts = []
    shown.save()
    assert not SearchEntry.objects.filter(message=shown).exists()
    Thread.objects.filter(pk=mine.pk).update(deleted_at="2026-01-01T00:00:00Z")
    assert found(asker, "port") == []


def test_a_snippet_is_escaped_but_for_its_marks(asker: Scope) -> None:
    thread = ThreadFactory.create(owner_id=asker.user_id)
    said(thread, "<script>alert('x')</script> \x02harbour\x03 <img src=x onerror=alert(1)> </mark> & \"quoted\"")
    (snippet,) = found(asker, "harbour")
    assert "<mark>harbour</mark>" in snippet
    bare = snippet.replace("<mark>", "").replace("</mark>", "")
    assert not set("<>\"'") & set(bare)
    assert "\x02" not in snippet
    assert snippet.count("<mark>") == snippet.count("</mark>") == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(
    q=st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), max_size=60)
    | st.text("'\":*&|!<->()\\ ab%_$", max_size=30)
)
def test_any_input_is_a_search(asker: Scope, q: str) -> None:
    search(asker, q)
    list_threads(asker, q=q)


def test_pages_have_neither_gaps_nor_repeats(asker: Scope) -> None:
    thread = ThreadFactory.create(owner_id=asker.user_id)
    for number in range(23):
        said(thread, "harbour " * (number % 3 + 1))
    for join in ("enable_nestloop", "enable_hashjoin"):  # those that might leave a page in its order by themselves
        rows(f"SET LOCAL {join} = off")
    seen: list[HitPosition] = []
    for expected in (5, 5, 5, 5, 3, 0):
        hits = search(asker, "harbour", after=seen[-1] if seen else None, limit=5)
        assert len(hits) == expected
        seen += [HitPosition(hit["rank"], hit["entry"]) for hit in hits]
    assert seen == sorted(set(seen), key=lambda hit: (hit.rank, hit.entry), reverse=True)


def test_a_message_that_makes_no_vector_is_stored_all_the_same(asker: Scope) -> None:
    thread = ThreadFactory.create(owner_id=asker.user_id)
    words = " ".join(f"{number:x}" * 3 for number in range(60_000))
    long = said(thread, words)
    far = said(thread, "x" * 5_000_000)
    assert Message.objects.filter(pk__in=[long.pk, far.pk]).count() == 2


def test_what_was_said_before_there_was_a_search_is_taken_in(asker: Scope) -> None:
    thread = ThreadFactory.create(owner_id=asker.user_id, title="The harbour")
    for _ in range(5):
        said(thread, "harbour")
    said(thread, "")
    SearchEntry.objects.all().delete()
    rows("UPDATE chat_messages SET id = 1 WHERE id = (SELECT min(id) FROM chat_messages)")  # the first that may be
    assert found(asker, "harbour") == []
    for _ in range(2):
        call_command("index_search")
        assert len(found(asker, "harbour")) == 6


@pytest.mark.django_db(transaction=True)
def test_a_text_that_changes_while_it_is_taken_in_is_found_as_it_is_now(asker: Scope) -> None:
    message = said(ThreadFactory.create(owner_id=asker.user_id), "harbour")
    SearchEntry.objects.all().delete()
    locked, filled = threading.Event(), threading.Event()

    def take_in() -> None:
        locked.wait(10)
        call_command("index_search")
        connection.close()
        filled.set()

    other = threading.Thread(target=take_in)
    other.start()
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE chat_messages SET parts = '[]' WHERE id = %s", [message.pk])
        locked.set()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while not filled.is_set():
            cursor.execute(waiting)
            if cursor.fetchone()[0]:
                break
        assert not filled.is_set(), "it did not wait for the row"
        cursor.execute("COMMIT")
    other.join(10)
    assert filled.is_set()
    assert found(asker, "harbour") == []


def test_common_and_rare_words_are_found_by_an_index(asker: Scope, other_user: AbstractUser) -> None:
    rows(
        """
        INSERT INTO chat_threads (owner_id, title)
        SELECT CASE WHEN n %% 10 = 0 THEN %(one)s ELSE %(two)s END, 'Thread ' || n FROM generate_series(1, 500) n
        """,
        one=asker.user_id,
        two=other_user.pk,
    )
    rows(
        """
        INSERT INTO chat_messages (thread_id, role, parts)
        SELECT t.id, 'user', jsonb_build_array(jsonb_build_object('type', 'text', 'text',
               'word' || (n * 7919 %% 5000) || ' and common words ' || md5(n::text)))
          FROM chat_threads t CROSS JOIN generate_series(1, 40) n
        """
    )
    rows("SELECT gin_clean_pending_list('chat_search_vector_idx')")
    rows("ANALYZE chat_search, chat_threads, chat_messages")
    values = {"scope_user": asker.user_id, "rank": None, "entry": None, "limit": 20, "newest": 500}
    for q in ("word77", "common", "common word1"):
        plan = rows(
            "EXPLAIN " + HITS.format(query=query_of(q)), q=q, headline="", snippet_from=1, controls="\x02", **values
        )
        text = "\n".join(one["QUERY PLAN"] for one in plan)
        assert "Seq Scan on chat_search" not in text, text
        assert "Seq Scan on chat_messages" not in text, text
        assert "chat_search_" in text, text
