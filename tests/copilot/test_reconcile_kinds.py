"""Damage of each kind, made by hand: found exactly, mended exactly, and left alone where nobody asked for more."""

from __future__ import annotations

import random
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import AbstractUser

from chat.models import CopilotChat, CopilotMessage, ReconcileMode
from chat.store.drift import Kind
from chat.store.mirror import append
from chat.store.reconcile import reconcile
from chat.store.reconcile_range import ALL, chats_by_id, count
from chat.store.scope import Scope
from tests.acceptance.cluster import database_of_this_test
from tests.copilot.chats import chat_with, element, elements, mirror, mirror_row
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
    named,
    reconciled,
)
from tests.scale import rounds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(rounds(120, 900))]
EACH = rounds(40, 1000)  # rows that are damaged, of each kind
ROWS = "SELECT id, chat_id, message_id, seq FROM copilot_chat_messages ORDER BY id"


def history(user: AbstractUser, shape: Shape) -> None:
    with psycopg.connect(database_of_this_test()) as connection:
        fill(connection, user.pk, shape)


@pytest.mark.proof
def test_a_thousand_of_each_kind_are_found_and_mended_exactly(user: AbstractUser) -> None:
    history(user, Shape(chats=EACH // 2, messages=EACH * 58, repeated=3, unordered=3))
    assert left(reconciled(INSERT)) == CLEAN
    everything = execute(ROWS)
    chosen = random.Random(EACH)
    chosen.shuffle(everything)
    deleted, changed, marked = (everything[place * EACH : (place + 1) * EACH] for place in range(3))
    used = {row[0] for row in (*deleted, *changed, *marked)}
    swapped = neighbours([row for row in everything if row[0] not in used], chosen)
    chats = [row[1] for row in everything[:EACH]]

    execute("DELETE FROM copilot_chat_messages WHERE id = ANY (%s)", [row[0] for row in deleted])
    execute(
        """
        UPDATE copilot_chat_messages
           SET content = content || '{"content": "somebody wrote this by hand"}', created_at = created_at
         WHERE id = ANY (%s)
        """,
        [row[0] for row in changed[::2]],
    )
    execute("UPDATE copilot_chat_messages SET role = 'nobody' WHERE id = ANY (%s)", [row[0] for row in changed[1::2]])
    execute("UPDATE copilot_chat_messages SET deleted_at = now() WHERE id = ANY (%s)", [row[0] for row in marked])
    for one, other in swapped:
        execute("UPDATE copilot_chat_messages SET seq = %s WHERE id = %s", other[3], one[0])
        execute("UPDATE copilot_chat_messages SET seq = %s WHERE id = %s", one[3], other[0])
    execute(
        """
        INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, created_at)
        SELECT chat, 'extra-' || place, 100000 + place, 'user', '{"id": "extra"}', now()
          FROM unnest(%s) WITH ORDINALITY AS given (chat, place)
        """,
        chats,
    )
    before = execute("SELECT md5(string_agg(m::text, '' ORDER BY id)) FROM copilot_chat_messages m")

    wanted = {
        Kind.MISSING: sorted((row[1], row[2]) for row in (*deleted, *marked)),
        Kind.CHANGED: sorted((row[1], row[2]) for row in changed),
        Kind.EXTRA: sorted((chat, f"extra-{place}") for place, chat in enumerate(chats, 1)),
        Kind.MISORDERED: sorted((row[1], row[2]) for pair in swapped for row in pair),
    }
    found = reconciled(CHECK)
    for kind, names in wanted.items():
        assert named(found, kind) == names, kind
    assert drift(found) == {kind: len(names) for kind, names in wanted.items()} == left(found)
    assert execute("SELECT md5(string_agg(m::text, '' ORDER BY id)) FROM copilot_chat_messages m") == before

    added = reconciled(INSERT)
    assert drift(added) == drift(found)
    # What was marked as deleted is there; what was swapped with a neighbour still is.
    assert left(added) == {**drift(found), Kind.MISSING: len(marked)}
    assert {row[2] for row in execute(ROWS)} >= {row[2] for row in deleted}
    untouched = {row[:3] for row in everything} - {row[:3] for row in deleted}
    assert untouched <= {row[:3] for row in execute(ROWS)}

    mended = reconciled(REPAIR)
    assert drift(mended) == left(added)
    assert left(mended) == CLEAN
    assert_mirror_is_right()
    last = reconciled(CHECK)
    assert drift(last) == CLEAN
    assert_rejected_are_told(last)


def neighbours(rows: list[Any], chosen: random.Random) -> list[tuple[Any, Any]]:
    """Pairs of rows that follow one another in a chat, EACH rows in all, none of them twice."""
    by_place = {(row[1], row[3]): row for row in rows}
    pairs, used = [], set()
    places = list(by_place)
    chosen.shuffle(places)
    for chat, seq in places:
        other = by_place.get((chat, seq + 1))
        if other and not used & {(chat, seq), (chat, seq + 1)}:
            used |= {(chat, seq), (chat, seq + 1)}
            pairs.append((by_place[chat, seq], other))
            if len(pairs) == EACH // 2:
                return pairs
    raise AssertionError("too few rows")


def test_a_mended_row_keeps_its_time_its_stream_and_its_model(asker: Scope) -> None:
    chat = chat_with(asker, "u1", "a1", model="larger")
    execute("UPDATE copilot_chat_messages SET model = 'own', stream_id = 's', tokens_in = 3 WHERE message_id = 'u1'")
    execute("UPDATE copilot_chat_messages SET content = '{}', model = NULL WHERE message_id = 'a1'")
    execute("UPDATE copilot_chat_messages SET content = '{}' WHERE message_id = 'u1'")
    before = {name: mirror_row(chat, name) for name in ("u1", "a1")}
    assert left(reconciled(REPAIR)) == CLEAN
    for name, model, stream, tokens in (("u1", "own", "s", 3), ("a1", "larger", None, None)):
        row = mirror_row(chat, name)
        assert (row.id, row.created_at, row.seq) == (before[name].id, before[name].created_at, before[name].seq)
        assert (row.model, row.stream_id, row.tokens_in) == (model, stream, tokens)
        assert row.content["id"] == name
        assert row.updated_at > before[name].updated_at


def test_rows_that_nothing_is_wrong_with_are_not_written(asker: Scope) -> None:
    chat_with(asker, "u1", "a1", "u2", "a2")
    execute("UPDATE copilot_chat_messages SET content = '{}' WHERE message_id = 'a1'")
    execute("DELETE FROM copilot_chat_messages WHERE message_id = 'u2'")
    right = """SELECT id, ctid, xmin FROM copilot_chat_messages WHERE message_id IN ('u1', 'a2')
                UNION ALL SELECT id, ctid, xmin FROM copilot_chats ORDER BY id"""
    before = execute(right)
    assert left(reconciled(REPAIR)) == CLEAN
    assert execute(right) == before


def test_a_missing_row_gets_the_place_of_its_element(asker: Scope) -> None:
    chat = chat_with(asker, "u1", "a1", "u2", "a2", "u3")
    execute("DELETE FROM copilot_chat_messages WHERE message_id IN ('u1', 'u2', 'u3')")
    assert drift(reconciled(INSERT)) == {Kind.MISSING: 3}
    assert mirror(chat) == ["u1", "a1", "u2", "a2", "u3"]


def test_a_missing_row_whose_place_is_taken_goes_to_the_end_and_is_told_to_stand_wrong(asker: Scope) -> None:
    """An answer that stood in front of a steering message was not mirrored; what followed has its number."""
    chat = chat_with(asker, "u1", "u2", "a2")
    CopilotChat.objects.update(messages=elements("u1", "a1", "u2", "a2"))
    added = reconciled(INSERT)
    assert drift(added) == {Kind.MISSING: 1}
    assert mirror(chat) == ["u1", "u2", "a2", "a1"]
    assert left(added) == {Kind.MISORDERED: 3}
    assert left(reconciled(REPAIR)) == CLEAN
    assert mirror(chat) == ["u1", "a1", "u2", "a2"]


def test_rows_whose_places_are_taken_go_behind_all_others_in_their_order(asker: Scope) -> None:
    several, far = chat_with(asker, "u1", "u2", "u3"), chat_with(asker, "u1", "u2", "a2")
    CopilotChat.objects.filter(pk=several).update(messages=elements("u1", "a3", "a1", "a2", "u2", "u3"))
    CopilotChat.objects.filter(pk=far).update(messages=elements("u1", "a1", "u2", "a2"))
    execute("UPDATE copilot_chat_messages SET seq = 9 WHERE message_id = 'a2'")
    reconciled(INSERT)
    assert mirror(several) == ["u1", "u2", "u3", "a2", "a3", "a1"]
    assert mirror(far) == ["u1", "u2", "a2", "a1"]


def test_the_place_of_a_row_that_is_marked_as_deleted_is_free(asker: Scope) -> None:
    chat_with(asker, "u1", "a1", "u2")
    chat = chat_with(asker, "u1", "ghost", "u2")
    CopilotChat.objects.filter(pk=chat).update(messages=elements("u1", "a1", "u2"))
    execute("UPDATE copilot_chat_messages SET deleted_at = now() WHERE message_id = 'ghost'")
    assert left(reconciled(INSERT)) == CLEAN
    assert mirror(chat) == ["u1", "a1", "u2"]


def test_a_repair_leaves_alone_what_no_element_and_no_drift_is_about(asker: Scope) -> None:
    chat = chat_with(asker, "u1", "a1", "gone", "stranger")
    CopilotChat.objects.update(messages=[*elements("u1", "a1"), "no object"])
    execute("UPDATE copilot_chat_messages SET deleted_at = now() WHERE message_id = 'gone'")
    execute("DELETE FROM copilot_chat_messages WHERE message_id = 'a1'")
    step = reconciled(REPAIR)
    assert (drift(step), left(step)) == ({Kind.MISSING: 1, Kind.EXTRA: 1}, CLEAN)
    assert mirror(chat) == ["u1", "a1"]
    assert mirror_row(chat, "gone").deleted_at


def test_ids_that_one_chat_repeats_are_those_of_another(asker: Scope) -> None:
    chats = [chat_with(asker, *names, mirrored=False) for names in (("u1", "u1"), ("a1", "a2", "u1"))]
    assert left(reconciled(INSERT)) == CLEAN
    assert [mirror(chat) for chat in chats] == [["u1"], ["a1", "a2", "u1"]]


def test_a_repair_puts_what_is_missing_in_its_place_at_once(asker: Scope) -> None:
    chat = chat_with(asker, "u1", "u2", "a2")
    CopilotChat.objects.update(messages=elements("u1", "a1", "u2", "a2"))
    assert drift(reconciled(REPAIR)) == {Kind.MISSING: 1}
    assert mirror(chat) == ["u1", "a1", "u2", "a2"]


def test_numbers_that_leave_gaps_but_keep_the_order_are_no_drift_and_stay(asker: Scope) -> None:
    chat_with(asker, "u1", "a1", "u2", "a2")
    execute("UPDATE copilot_chat_messages SET seq = seq * 10 + 5")
    assert drift(reconciled(CHECK)) == CLEAN
    execute("UPDATE copilot_chat_messages SET content = '{}' WHERE message_id = 'u2'")
    assert drift(reconciled(REPAIR)) == {Kind.CHANGED: 1}
    assert sorted(CopilotMessage.objects.values_list("seq", flat=True)) == [5, 15, 25, 35]


def test_two_rows_at_one_place_stand_wrong(asker: Scope) -> None:
    chat = chat_with(asker, "u1", "a1", "u2", "a2")
    execute("UPDATE copilot_chat_messages SET seq = 2 WHERE message_id = 'a1'")
    found = reconciled(CHECK)
    assert named(found, Kind.MISORDERED) == [(chat, "a1"), (chat, "u2")]
    assert left(reconciled(REPAIR)) == CLEAN
    assert mirror(chat) == ["u1", "a1", "u2", "a2"]


def test_a_row_marked_as_deleted_that_no_element_names_is_nobodys_drift(asker: Scope) -> None:
    chat_with(asker, "u1", "a1")
    CopilotChat.objects.update(messages=[element("u1")])
    execute("UPDATE copilot_chat_messages SET deleted_at = now() WHERE message_id = 'a1'")
    assert drift(reconciled(REPAIR)) == CLEAN
    assert CopilotMessage.objects.filter(message_id="a1").exists()


def test_equal_json_is_equal_however_it_was_written(asker: Scope) -> None:
    chat_with(asker, messages=[element("u1", price=1, deep={"a": 1, "b": [1.0, 2]})])
    execute(
        """UPDATE copilot_chat_messages SET content = content || '{"price": 1.00, "deep": {"b": [1, 2.0], "a": 1e0}}'"""
    )
    assert drift(reconciled(CHECK)) == CLEAN


def test_failures_are_forgotten_where_the_mirror_is_right_afterwards(asker: Scope) -> None:
    right, missing, changed = (chat_with(asker, "u1", "a1", mirror_failures=2) for _ in range(3))
    empty = chat_with(asker, "u1", mirrored=False, mirror_failures=1)
    execute("DELETE FROM copilot_chat_messages WHERE chat_id = %s AND message_id = 'a1'", missing)
    execute("UPDATE copilot_chat_messages SET role = 'nobody' WHERE chat_id = %s", changed)
    failures = CopilotChat.objects.filter(mirror_failures__gt=0).values_list("pk", flat=True)
    steps = [reconciled(CHECK)]
    assert set(failures.all()) == {right, missing, changed, empty}
    steps.append(reconciled(INSERT))
    assert [(step.chats, step.messages) for step in steps] == [(4, 7), (4, 7)]
    assert set(failures.all()) == {changed}
    reconciled(REPAIR)
    assert not failures.all()


def test_a_chat_whose_array_lacks_messages_is_left_alone_and_told(asker: Scope) -> None:
    chat = chat_with(asker, "u1", "a1", array_behind=True)
    CopilotChat.objects.update(messages=[element("u1")])
    for mode in (CHECK, INSERT, REPAIR):
        step = reconciled(mode)
        assert (step.chats, step.behind) == (1, [chat])
        assert drift(step) == CLEAN
        assert mirror(chat) == ["u1", "a1"]


def test_a_run_over_one_chat_touches_no_other(asker: Scope) -> None:
    chats = [chat_with(asker, "u1", mirrored=False) for _ in range(5)]
    step = reconciled(INSERT, chats_by_id(chats[1:3]), batch_size=1)
    assert (step.chats, step.messages, len(step.locked)) == (2, 2, 2)
    assert [len(mirror(chat)) for chat in chats] == [0, 1, 1, 0, 0]


def test_a_repair_of_one_chat_mends_no_other(asker: Scope) -> None:
    chat, _ = (chat_with(asker, "u1", "a1") for _ in range(2))
    execute("UPDATE copilot_chat_messages SET content = '{}' WHERE message_id = 'a1'")
    chosen = chats_by_id([chat])
    step = reconciled(REPAIR, chosen)
    assert (count(chosen), step.chats, step.messages, drift(step)) == (1, 1, 2, {Kind.CHANGED: 1})
    assert drift(reconciled(CHECK)) == {Kind.CHANGED: 1}


def test_every_chat_and_element_is_counted_once(asker: Scope) -> None:
    chat_with(asker, "u1", "a1", "u2", mirrored=False)
    chat_with(asker)
    for mode in (CHECK, INSERT, REPAIR):
        step = reconciled(mode)
        assert (step.chats, step.messages) == (2, 3)


@pytest.mark.parametrize("mode", [INSERT, REPAIR])
def test_what_somebody_else_began_between_the_look_and_the_lock_is_gone_on_with(
    asker: Scope, mode: ReconcileMode
) -> None:
    begun, behind = (chat_with(asker, "u1", "a1", "u2", mirrored=False) for _ in range(2))
    steps = reconcile(ALL, mode)
    total = next(steps)
    append(begun, elements("u1", "a1"))
    CopilotChat.objects.filter(pk=behind).update(array_behind=True)
    for step in steps:
        total.add(step)
    assert (drift(total), left(total), total.behind) == ({Kind.MISSING: 1}, CLEAN, [behind])
    assert (mirror(begun), mirror(behind)) == (["u1", "a1", "u2"], [])
