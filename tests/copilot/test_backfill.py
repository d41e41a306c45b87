"""The migration that fills the mirror: it may be run again and undone, and nothing in an array stops it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import AbstractUser
from django.db import OperationalError, connection

from chat.store.scope import Scope
from tests.acceptance.cluster import database_of_this_test
from tests.copilot.chats import chat_with, element, mirror
from tests.copilot.history_data import BAD, Shape, fill
from tests.copilot.reconciling import (
    CHECK,
    CLEAN,
    INSERT,
    assert_mirror_is_right,
    assert_rejected_are_told,
    drift,
    execute,
    reconciled,
)
from tests.migrations import migrate, migrated_again

__all__ = ["migrated_again"]

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE_HISTORY, BEFORE_MIRROR = "0006_turns_of_a_thread", "0007_copilot_history"
BEFORE_BACKFILL, BACKFILL = "0009_copilot_mirror_indexes", "0010_copilot_backfill"
MIRROR = "SELECT md5(string_agg(m::text, '' ORDER BY id)) FROM copilot_chat_messages m"


def test_every_good_element_of_a_bad_database_is_mirrored_in_order(user: AbstractUser) -> None:
    migrate(BEFORE_BACKFILL)
    with psycopg.connect(database_of_this_test()) as filling:
        fill(filling, user.pk, Shape(chats=90, messages=5_000, repeated=5, unordered=5, bad=0.05))
    migrate(None)
    assert assert_mirror_is_right() > 4_500
    found = reconciled(CHECK)
    assert drift(found) == CLEAN
    assert set(assert_rejected_are_told(found)) == {"no_object", "no_id", "no_role", "no_time", "repeated_id"}


def test_nothing_in_an_array_aborts_it(asker: Scope) -> None:
    migrate(BEFORE_BACKFILL)
    bad = [text.format(id=f"b{place}", text="\\\\u0000", time="2026-05-01T10:00:00Z") for place, text in enumerate(BAD)]
    execute("UPDATE copilot_chats SET messages = '[]'")
    chats = [chat_with(asker, messages=[element("u1"), element("u1"), element("a1")], mirrored=False) for _ in range(3)]
    execute("UPDATE copilot_chats SET messages = %s::jsonb WHERE id = %s", f"[{','.join(bad)}]", chats[0])
    execute("UPDATE copilot_chats SET messages = 'null' WHERE id = %s", chats[1])
    large = chat_with(asker, messages=[element("u1", content="x" * 5_000_000)], mirrored=False)
    migrate(None)
    assert len(mirror(chats[0])) == len(BAD) - 3
    assert (mirror(chats[1]), mirror(chats[2]), mirror(large)) == ([], ["u1", "a1"], ["u1"])


def test_it_may_be_run_again_and_adds_only_what_is_missing(asker: Scope) -> None:
    chats = [chat_with(asker, "u1", "a1", mirrored=False) for _ in range(50)]
    migrate(BEFORE_BACKFILL)
    migrate(BACKFILL)
    before = execute(MIRROR)
    execute("DELETE FROM django_migrations WHERE app = 'chat' AND name = %s", BACKFILL)
    migrate(BACKFILL)
    assert execute(MIRROR) == before
    execute("DELETE FROM copilot_chat_messages WHERE chat_id = %s AND message_id = 'u1'", chats[7])
    migrate(BEFORE_BACKFILL)
    assert mirror(chats[7]) == ["a1"]  # backwards the rows stay
    migrate(None)
    assert mirror(chats[7]) == ["u1", "a1"]


def test_killed_half_way_it_goes_on_where_it_was(asker: Scope) -> None:
    """Somebody holds a chat for longer than it waits: it ends with an error, and what it committed is there."""
    migrate(BEFORE_BACKFILL)
    chats = sorted(chat_with(asker, "u1", "a1", mirrored=False) for _ in range(45))
    with psycopg.connect(database_of_this_test()) as holder:
        holder.execute("SELECT FROM copilot_chats WHERE id = %s FOR NO KEY UPDATE", [chats[-1]])
        with pytest.raises(OperationalError, match="lock timeout"):
            migrate(None)
    connection.close()
    assert execute("SELECT count(DISTINCT chat_id) FROM copilot_chat_messages") == [(40,)]
    migrate(None)
    assert execute("SELECT count(DISTINCT chat_id) FROM copilot_chat_messages") == [(45,)]
    assert execute("SHOW lock_timeout") == [("0",)]


def test_it_can_be_left_to_the_command(asker: Scope, settings: Any) -> None:
    chat = chat_with(asker, "u1", "a1", mirrored=False)
    migrate(BEFORE_BACKFILL)
    settings.CHAT_BACKFILL_IN_MIGRATION = False
    migrate(None)
    assert mirror(chat) == []
    reconciled(INSERT)
    assert mirror(chat) == ["u1", "a1"]


def test_all_of_it_goes_back_and_forth(asker: Scope) -> None:
    chat = chat_with(asker, "u1", "a1")
    migrate(BEFORE_MIRROR)
    assert execute("SELECT to_regclass('copilot_chat_messages')") == [(None,)]
    migrate(BEFORE_HISTORY)
    assert execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'copilot%%' AND %s", True) == [(0,)]
    migrate(None)
    assert mirror(chat) == ["u1", "a1"]
