"""What a look at chats tells: at first sight, compared, and side by side."""

from __future__ import annotations

import uuid

import pytest

from chat.models import CopilotChat, CopilotMessage
from chat.store import drift
from chat.store.drift import Kind, compare
from chat.store.reconcile_range import BEFORE_ALL
from chat.store.scope import Scope
from chat.store.side_by_side import side_by_side
from tests.copilot.chats import chat_with, element, elements
from tests.copilot.reconciling import execute

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("as_they_lie")]


def change(chat: uuid.UUID, name: str, what: str) -> None:
    execute(f"UPDATE copilot_chat_messages SET {what} WHERE chat_id = %s AND message_id = %s", chat, name)


def glance(limit: int = 20, *, after: uuid.UUID = BEFORE_ALL) -> list[uuid.UUID]:
    return [one.id for one in drift.glance("true", after=after, limit=limit)]


def test_at_first_sight_only_that_chat_is_right_whose_elements_have_their_rows(asker: Scope) -> None:
    right, missing, deleted, changed, moved, extra = (chat_with(asker, "u1", "a1") for _ in range(6))
    rejected = chat_with(asker, messages=[element("u1"), element("a1") | {"timestamp": "soon"}])
    none = chat_with(asker, "u1", mirrored=False, mirror_failures=1)
    empty = chat_with(asker)
    behind = chat_with(asker, "u1", array_behind=True)
    CopilotMessage.objects.filter(chat=missing, message_id="a1").delete()
    change(deleted, "a1", "deleted_at = now()")
    change(changed, "a1", "content = '{}'")
    change(moved, "a1", "seq = 5")
    CopilotChat.objects.filter(pk=extra).update(messages=elements("u1"))
    found = {one.id: one for one in drift.glance("true", after=BEFORE_ALL, limit=20)}
    assert {chat for chat, one in found.items() if one.right} == {right}
    assert {chat for chat, one in found.items() if not one.mirrored} == {none, empty}
    assert {chat for chat, one in found.items() if one.behind} == {behind}
    assert {chat for chat, one in found.items() if one.failed} == {none}
    assert [found[chat].elements for chat in (right, rejected, extra, none, behind)] == [2, 2, 1, 0, 0]


def test_a_look_takes_the_next_chats_by_their_ids_fewer_where_they_are_large(
    asker: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    chats = sorted(chat_with(asker, "u1") for _ in range(5))
    assert glance(2) == chats[:2]
    assert glance(2, after=chats[1]) == chats[2:4]
    (last,) = drift.glance("c.id <> %(other)s", after=chats[2], limit=9, other=chats[3])
    assert last.id == chats[4]
    for more, number in ((0, 1), (1, 2), (5 * last.size, 5)):
        monkeypatch.setattr(drift, "READ_BYTES", last.size + more)
        assert glance() == chats[:number]


def test_of_each_kind_the_first_are_listed_in_the_arrays_order(asker: Scope) -> None:
    names = [f"m{number * 7 % 40:02}" for number in range(40)]
    chat = chat_with(asker, messages=[element(name) for name in names])
    chat_with(asker, "u1", mirrored=False)
    execute("UPDATE copilot_chat_messages SET content = '{}'")
    for examples, number in ((3, 3), (2, 2), (0, 1)):
        found = compare([chat], examples=examples)
        assert [one.message_id for one in found.listed] == names[:number]
        assert (found.total(), found.elements) == ({Kind.CHANGED: 40}, {chat: 40})


def test_a_row_that_is_marked_as_deleted_is_missing_whatever_it_holds(asker: Scope) -> None:
    chat = chat_with(asker, "u1", "a1", "u2")
    change(chat, "a1", "deleted_at = now(), content = '{}', seq = 7")
    assert compare([chat]).counts == {chat: {Kind.MISSING: 1}}


def test_elements_and_rows_stand_side_by_side(asker: Scope) -> None:
    again = element("u1", content="again")
    chat = chat_with(asker, messages=[*elements("u1", "a1", "u2", "a2", "u3"), "no object", again])
    change(chat, "u1", "deleted_at = now(), content = '{}'")
    change(chat, "a1", "content = '{}', role = 'nobody'")
    change(chat, "u2", "seq = 3")
    change(chat, "a2", "seq = 2")
    CopilotMessage.objects.create(
        chat_id=chat, message_id="ghost", seq=1, role="user", content={"a": 1}, created_at="2026-05-01T10:00Z"
    )
    pairs = side_by_side(chat, offset=0, limit=100, only_drift=False)
    assert [(one.message_id, one.index, one.seq, one.kinds) for one in pairs] == [
        ("u1", 0, 0, (Kind.MISSING,)),
        ("a1", 1, 1, (Kind.CHANGED,)),
        ("ghost", None, 1, (Kind.EXTRA,)),
        ("u2", 2, 3, (Kind.MISORDERED,)),
        ("a2", 3, 2, (Kind.MISORDERED,)),
        ("u3", 4, 4, ()),
        (None, 5, None, (Kind.REJECTED,)),
        ("u1", 6, None, (Kind.REJECTED,)),
    ]
    assert [(one.element, one.row, one.row_role, one.problem) for one in (pairs[1], pairs[2], pairs[7])] == [
        (element("a1", "assistant"), {}, "nobody", None),
        (None, {"a": 1}, "user", None),
        (again, None, "", "repeated_id"),
    ]
    assert side_by_side(chat, offset=2, limit=2, only_drift=False) == pairs[2:4]
    assert side_by_side(chat, offset=0, limit=100, only_drift=True) == [one for one in pairs if one.kinds]
