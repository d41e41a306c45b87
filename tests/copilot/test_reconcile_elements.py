"""Elements and arrays as they should not be: each good one mirrored once and in order, each other one told."""

from __future__ import annotations

import json
import uuid
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import AbstractUser

from chat.conf import Phase
from chat.models import CopilotChat, CopilotMessage
from chat.store.drift import Kind
from chat.store.scope import Scope
from chat.store.transcript import read_transcript
from tests.acceptance.cluster import database_of_this_test
from tests.copilot.chats import chat_with, element, elements, mirror
from tests.copilot.history_data import Shape, fill
from tests.copilot.reconciling import (
    CHECK,
    CLEAN,
    INSERT,
    REPAIR,
    assert_mirror_is_right,
    assert_rejected_are_told,
    drift,
    execute,
    left,
    reconciled,
    rejected,
)
from tests.scale import rounds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(rounds(120, 1800))]
CHATS = rounds(86, 5_000)
MESSAGES = rounds(10_000, 580_300)


@pytest.mark.proof
def test_a_database_with_one_bad_element_in_a_hundred_is_mirrored_and_every_bad_one_told(user: AbstractUser) -> None:
    shape = Shape(chats=CHATS, messages=MESSAGES, repeated=rounds(5, 87), unordered=rounds(5, 112), bad=0.01)
    with psycopg.connect(database_of_this_test()) as connection:
        fill(connection, user.pk, shape)

    first = reconciled(INSERT)
    assert (first.chats, first.messages) == (CHATS, MESSAGES)
    problems = assert_rejected_are_told(first)
    assert set(problems) == {"no_object", "no_id", "no_role", "no_time", "repeated_id"}
    kept = assert_mirror_is_right()
    assert kept == MESSAGES - problems["no_object"] - problems["repeated_id"]
    assert drift(first) == {Kind.MISSING: kept}
    assert left(first) == CLEAN

    for mode in (CHECK, INSERT, REPAIR):
        again = reconciled(mode)
        assert drift(again) == CLEAN
        assert (again.chats, again.messages) == (CHATS, MESSAGES)
        assert_rejected_are_told(again)
        assert not again.locked, "what was rejected is no reason to take a lock"


def test_the_migration_and_the_command_have_one_opinion(user: AbstractUser) -> None:
    with psycopg.connect(database_of_this_test()) as connection:
        fill(connection, user.pk, Shape(chats=20, messages=800, repeated=3, unordered=3, bad=0.1))
    reconciled(INSERT)
    ours = "SELECT chat_id, message_id, seq, role, content, model, created_at FROM copilot_chat_messages"
    theirs = """
        SELECT DISTINCT ON (c.id, e.message_id) c.id, e.message_id, e.idx, e.role, e.content, c.model, e.created_at
          FROM copilot_chats c, copilot_elements(c.messages, c.created_at) e
         WHERE e.message_id IS NOT NULL ORDER BY c.id, e.message_id, e.idx"""
    assert execute(f"({ours}) EXCEPT ({theirs})") == execute(f"({theirs}) EXCEPT ({ours})") == []


@pytest.mark.parametrize(
    ("bad", "problem", "kept"),
    [
        ("words", "no_object", False),
        (None, "no_object", False),
        ([{"id": "nested", "role": "user"}], "no_object", False),
        ({"role": "user", "content": "x", "timestamp": "2026-05-01T10:00:00Z"}, "no_id", True),
        (element(""), "no_id", True),
        (element("x") | {"id": None}, "no_id", True),
        (element("x") | {"id": True}, "no_id", True),
        (element("x" * 1001), "no_id", True),
        (element("é" * 501), "no_id", True),
        (element("x") | {"role": None}, "no_role", True),
        (element("x", "r" * 65), "no_role", True),
        (element("x") | {"timestamp": None}, "no_time", True),
        (element("x") | {"timestamp": "infinity"}, "no_time", True),
        (element("x") | {"timestamp": "10000-01-01T00:00:00.000Z"}, "no_time", True),
        (element("x") | {"timestamp": "9999-12-31T23:59:59-01:00"}, "no_time", True),
        (element("x") | {"timestamp": "0001-01-01T00:00:00+14:00"}, "no_time", True),
        (element("x") | {"timestamp": "2026-02-30T10:00:00.000Z"}, "no_time", True),
        (element("x") | {"timestamp": "2026-13-01T10:00:00.000Z"}, "no_time", True),
        (element("x") | {"timestamp": "2026-05-01T24:00:01.000Z"}, "no_time", True),
        (element("x") | {"timestamp": "2:26-05-01T10:00:00.000Z"}, "no_time", True),
        (element("x") | {"timestamp": "2026-05-01T10:00:00.0:0Z"}, "no_time", True),
        (element("x") | {"timestamp": 1767600000}, "no_time", True),
        (element("u1", content="a second one"), "repeated_id", False),
    ],
)
def test_a_bad_element_is_told_and_kept_where_it_can_be(asker: Scope, bad: Any, problem: str, kept: bool) -> None:
    chat = chat_with(asker, messages=[element("u1"), bad, element("a1")], mirrored=False)
    found = reconciled(INSERT)
    assert rejected(found.listed) == [(chat, 1, problem, kept)]
    assert assert_mirror_is_right() == (3 if kept else 2)
    before = execute("SELECT m::text FROM copilot_chat_messages m ORDER BY seq")
    for mode in (CHECK, INSERT, REPAIR):
        again = reconciled(mode)
        assert rejected(again.listed) == [(chat, 1, problem, kept)]
        assert drift(again) == CLEAN
    assert execute("SELECT m::text FROM copilot_chat_messages m ORDER BY seq") == before
    # Every row can be read, whatever time it was given.
    assert all(row.created_at.year < 10_000 for row in CopilotMessage.objects.filter(chat=chat))


def test_ids_and_times_that_look_odd_are_taken_as_they_are(asker: Scope) -> None:
    odd = [
        element("x" * 1000),
        element("é" * 500),
        element("u") | {"id": 7},
        element("u") | {"id": 1e30},
        element("' OR 1=1 -- %s %(chats)s {}"),
        element("made-d41d8cd98f00b204e9800998ecf8427e"),
        element("t1") | {"timestamp": "2026-05-01"},
        element("t2") | {"timestamp": "2026-05-01 10:00"},
        element("t3") | {"timestamp": "2026-05-01T10:00:00.123456789+05:30"},
        element("t4") | {"timestamp": "9999-12-28T23:59:59.999Z"},
        element("t5") | {"timestamp": "2024-02-29T10:00:00.000Z"},
    ]
    chat = chat_with(asker, messages=odd, mirrored=False)
    step = reconciled(INSERT)
    assert rejected(step.listed) == []
    assert mirror(chat)[2:4] == ["7", "1000000000000000000000000000000"]
    assert len(mirror(chat)) == len(odd)
    assert drift(reconciled(CHECK)) == CLEAN


def test_a_number_as_an_id_that_only_postgresql_can_hold_is_made_anew(asker: Scope) -> None:
    chat = chat_with(asker, mirrored=False)
    execute("""UPDATE copilot_chats SET messages = '[{"id": 1e131071, "role": "user", "timestamp": "2026-05-01"}]'""")
    assert rejected(reconciled(INSERT).listed) == [(chat, 0, "no_id", True)]
    assert drift(reconciled(CHECK)) == CLEAN


@pytest.mark.parametrize("array", ["null", "{}", '"words"', "3", "[]", '{"0": {"id": "u1"}}'])
def test_what_is_no_array_has_no_elements(asker: Scope, array: str) -> None:
    chat = chat_with(asker, "u1")
    execute("UPDATE copilot_chats SET messages = %s::jsonb", array)
    assert drift(reconciled(CHECK)) == {Kind.EXTRA: 1}
    assert left(reconciled(INSERT)) == {Kind.EXTRA: 1}
    assert mirror(chat) == ["u1"]
    assert left(reconciled(REPAIR)) == CLEAN
    assert mirror(chat) == []
    assert execute("SELECT messages::text FROM copilot_chats") == [(array,)]


def test_escaped_nul_characters_stay_words(asker: Scope) -> None:
    """No jsonb holds a NUL; what looks like one is a backslash and letters, and nobody reads it twice."""
    chat = chat_with(asker, messages=[element("u\\u0000", content="\\u0000 \\\\u0000 \\ud800")], mirrored=False)
    assert left(reconciled(INSERT)) == CLEAN
    assert_mirror_is_right()
    assert mirror(chat) == ["u\\u0000"]


def test_an_array_of_five_megabytes_is_one_chat_like_another(asker: Scope) -> None:
    words = " ".join(uuid.uuid4().hex for _ in range(30))
    large = chat_with(asker, messages=[element(f"u{n}", content=words) for n in range(5_000)], mirrored=False)
    wide = chat_with(asker, messages=[element("u1", content=words * 5_000), *elements("a1")], mirrored=False)
    assert execute("SELECT min(octet_length(messages::text)) > 4900000 FROM copilot_chats") == [(True,)]
    assert left(reconciled(INSERT)) == CLEAN
    assert (len(mirror(large)), mirror(wide)) == (5_000, ["u1", "a1"])
    execute("UPDATE copilot_chat_messages SET seq = -seq")
    execute("UPDATE copilot_chat_messages SET role = 'nobody' WHERE seq < -4990")
    assert left(reconciled(REPAIR)) == CLEAN
    assert_mirror_is_right()


def test_a_time_that_only_the_fallback_gives_is_the_chats_own(asker: Scope) -> None:
    chat = chat_with(asker, messages=[element("u1") | {"timestamp": "soon"}], mirrored=False)
    reconciled(INSERT)
    assert CopilotMessage.objects.get().created_at == CopilotChat.objects.get(pk=chat).created_at


def test_elements_without_an_id_that_say_the_same_are_messages_of_their_own(asker: Scope, settings: Any) -> None:
    yes: dict[str, Any] = {"role": "user", "content": "yes"}
    said = [yes, {"role": "assistant", "content": "one"}, yes, {"role": "assistant", "content": "two"}, yes]
    chat = chat_with(asker, messages=said, mirrored=False)
    step = reconciled(INSERT)
    assert assert_mirror_is_right() == len(said)
    assert assert_rejected_are_told(step) == {"no_id": len(said)}
    ids = [row.message_id for row in CopilotMessage.objects.filter(chat=chat).order_by("seq")]
    assert ids[2::2] == [f"{ids[0]}-2", f"{ids[0]}-3"]
    for phase in Phase:
        settings.COPILOT_MESSAGES_PHASE = phase
        assert [one.message_id for one in read_transcript(asker, chat)] == ids
    CopilotChat.objects.filter(pk=chat).update(messages=[*said, *said])
    reconciled(INSERT)
    assert (
        list(CopilotMessage.objects.filter(chat=chat).order_by("seq").values_list("message_id", flat=True))[:5] == ids
    )
    assert drift(reconciled(CHECK)) == CLEAN


def test_a_history_that_is_no_array_is_told_of(asker: Scope) -> None:
    chat = chat_with(asker, messages=[])
    CopilotChat.objects.filter(pk=chat).update(messages=json.dumps([{"id": "u1"}]))
    step = reconciled(CHECK)
    assert assert_rejected_are_told(step) == {"no_array": 1}
    assert step.is_clean


def test_no_parallel_plan_reads_elements() -> None:
    """PostgreSQL 15 and 16 refuse the exception that ``copilot_time`` catches in one; the functions say so."""
    said = execute(
        "SELECT DISTINCT proparallel::text FROM pg_proc WHERE proname IN ('copilot_time', 'copilot_elements')"
    )
    assert said == [("u",)]
