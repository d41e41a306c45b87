"""Killed anywhere and run again, the command ends in the same state; nobody it meets waits for long."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import AbstractUser
from django.db import connection

from chat.models import CopilotChat, ReconcileRun
from chat.store import locked_chats, reconcile
from chat.store.drift import Kind
from chat.store.scope import Scope
from tests.acceptance.cluster import database_of_this_test
from tests.acceptance.server import ROOT
from tests.copilot.chats import chat_with, mirror
from tests.copilot.history_data import Shape, fill
from tests.copilot.reconciling import (
    CHECK,
    CLEAN,
    REPAIR,
    Holder,
    arguments,
    assert_mirror_is_right,
    command,
    drift,
    execute,
    left,
    reconciled,
    settings,
)
from tests.scale import rounds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(rounds(180, 1800))]
KILLS = rounds(2, 40)
# Numbers may leave gaps; the order says everything.
STATE = """
    SELECT md5(string_agg(concat_ws(' ', chat_id, message_id, role, content), '|' ORDER BY chat_id, seq))
      FROM copilot_chat_messages WHERE deleted_at IS NULL"""


@pytest.mark.proof
@pytest.mark.parametrize("options", [(), ("--repair",)], ids=["insert", "repair"])
def test_killed_at_any_moment_and_run_again_it_ends_in_the_same_state(
    user: AbstractUser, options: tuple[str, ...]
) -> None:
    with psycopg.connect(database_of_this_test()) as filling:
        fill(filling, user.pk, Shape(chats=200, messages=20_000, repeated=5, unordered=5, bad=0.01))
    assert command(*options).returncode == 0
    wanted = execute(STATE)
    for number in range(KILLS):
        if options:
            damage(number)
        else:
            execute("DELETE FROM copilot_chat_messages")
        killed = subprocess.Popen(
            arguments(*options, "--batch-size", "20"),
            env=settings(),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        begun = ReconcileRun.objects.count()
        while ReconcileRun.objects.count() == begun and killed.poll() is None:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.8))
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        done = command(*options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert execute(STATE) == wanted
    assert_mirror_is_right()
    assert ReconcileRun.objects.filter(is_clean=None).exclude(finished_at=None).count() == 0


def damage(seed: int) -> None:
    execute("SELECT setseed(%s)", 1 / (seed + 2))
    execute("DELETE FROM copilot_chat_messages WHERE random() < 0.1")
    execute("UPDATE copilot_chat_messages SET content = '{}' WHERE random() < 0.1")
    execute("UPDATE copilot_chat_messages SET seq = seq + 3 WHERE random() < 0.1")
    execute("UPDATE copilot_chat_messages SET deleted_at = now() WHERE random() < 0.05")
    execute(
        """
        INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, created_at)
        SELECT id, 'extra', 5, 'user', '{}', now() FROM copilot_chats
        """
    )


def test_what_was_committed_is_not_done_again(asker: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies in its second transaction."""
    monkeypatch.setattr(locked_chats, "FIRST_BYTES", 1)
    chats = sorted(chat_with(asker, "u1", "a1", mirrored=False) for _ in range(4))
    fill_one, died = reconcile._fill, []

    def dies(ids: Any, **options: Any) -> Any:
        step = fill_one(ids, **options)
        if ids[0] == chats[1]:
            died.append(ids)
            raise KeyboardInterrupt
        return step

    monkeypatch.setattr(reconcile, "_fill", dies)
    with pytest.raises(KeyboardInterrupt):
        reconciled(REPAIR)
    assert died
    committed = [len(mirror(chat)) for chat in chats]
    assert (committed[0], committed[1]) == (2, 0)
    monkeypatch.undo()
    assert drift(reconciled(REPAIR)) == {Kind.MISSING: 8 - sum(committed)}


def test_it_does_not_wait_for_ever_for_a_chat_that_somebody_holds(
    asker: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locked_chats, "ATTEMPTS", 2)
    chats = sorted(chat_with(asker, "u1", "a1", mirrored=False) for _ in range(3))
    with Holder(chats[1]):
        step = reconciled(REPAIR)
        assert step.busy == [chats[1]]
        assert [len(mirror(chat)) for chat in chats] == [2, 0, 2]
        assert max(step.locked) < 0.4, "a lock was held while another one was waited for"
        done = command("--repair")
        assert done.returncode == 1
        assert "1 chats were locked by somebody all the time" in done.stdout
    assert drift(reconciled(REPAIR)) == {Kind.MISSING: 2}


def test_a_chat_that_is_free_again_soon_is_mended_in_the_end(asker: Scope) -> None:
    chats = sorted(chat_with(asker, "u1", "a1", mirrored=False) for _ in range(3))
    holder = Holder(chats[0])
    release = threading.Timer(1.0, holder.connection.close)
    release.start()
    step = reconciled(REPAIR)
    release.join()
    assert step.busy == []
    assert drift(step) == {Kind.MISSING: 6}


def test_comparing_takes_no_lock_and_waits_for_none(asker: Scope) -> None:
    chats = [chat_with(asker, "u1", "a1") for _ in range(3)]
    with Holder(chats[0]):
        assert reconciled(CHECK).chats == 3
        assert reconciled(REPAIR).locked == []


def test_a_chat_that_changed_after_it_was_compared_is_compared_again_under_its_lock(
    asker: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody mends one chat, fills another and marks a third as behind between the look and the lock."""
    mended, filled, behind = (chat_with(asker, "u1", "a1") for _ in range(3))
    execute("DELETE FROM copilot_chat_messages WHERE chat_id = %s", filled)
    execute("UPDATE copilot_chat_messages SET role = 'nobody' WHERE chat_id = ANY (%s)", [mended, behind])
    each = locked_chats.LockedChats.each
    first = True

    def interrupted(self: Any, chats: Any, work: Any, **how: Any) -> Any:
        nonlocal first
        if first:
            first = False
            execute(
                """UPDATE copilot_chat_messages SET role = CASE message_id WHEN 'u1' THEN 'user' ELSE 'assistant' END
                    WHERE chat_id = %s""",
                mended,
            )
            execute(
                """
                INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, created_at)
                VALUES (%s, 'stranger', 9, 'user', '{}', now())
                """,
                filled,
            )
            CopilotChat.objects.filter(pk=behind).update(array_behind=True)
        return each(self, chats, work, **how)

    monkeypatch.setattr(reconcile.LockedChats, "each", interrupted)
    step = reconciled(REPAIR)
    assert drift(step) == {Kind.MISSING: 2, Kind.EXTRA: 1}
    assert left(step) == CLEAN
    assert step.behind == [behind]
    assert mirror(filled) == ["u1", "a1"]
    assert execute("SELECT DISTINCT role FROM copilot_chat_messages WHERE chat_id = %s", behind) == [("nobody",)]


def test_a_chat_that_is_deleted_meanwhile_is_nobodys_failure(asker: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, gone = (chat_with(asker, "u1", "a1", mirrored=False) for _ in range(2))
    each = locked_chats.LockedChats.each

    def interrupted(self: Any, chats: Any, work: Any, **how: Any) -> Any:
        execute("DELETE FROM copilot_chats WHERE id = %s", gone)
        return each(self, chats, work, **how)

    monkeypatch.setattr(reconcile.LockedChats, "each", interrupted)
    step = reconciled(REPAIR)
    assert drift(step) == {Kind.MISSING: 2}
    assert step.busy == []
    assert mirror(kept) == ["u1", "a1"]


def test_a_broken_connection_is_replaced_and_the_work_done_again(asker: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = chat_with(asker, "u1", "a1", mirrored=False)
    fill_one = reconcile._fill
    cut = 0

    def cut_off(ids: Any, **options: Any) -> Any:
        nonlocal cut
        step = fill_one(ids, **options)
        if cut < 2:
            cut += 1
            with psycopg.connect(database_of_this_test(), autocommit=True) as other:
                backend = connection.connection.info.backend_pid
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
            execute("SELECT 1")
        return step

    monkeypatch.setattr(reconcile, "_fill", cut_off)
    step = reconciled(REPAIR)
    assert drift(step) == {Kind.MISSING: 2}
    assert mirror(chat) == ["u1", "a1"]
