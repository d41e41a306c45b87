"""The mirror cannot be written: in ``dual`` nobody notices but the counter and the log, later the request fails."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction

from chat import telemetry
from chat.conf import Phase
from chat.models import CopilotChat, CopilotMessage, ReconcileRun
from chat.store import copilot
from chat.store.scope import Scope
from chat.store.sql import drop_broken_connections
from tests.copilot.chats import array, assert_mirrored, chat_with, element, elements, mirror
from tests.copilot.test_writer import end, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def no_table() -> Iterator[None]:
    run("ALTER TABLE copilot_chat_messages RENAME TO lost")
    try:
        yield
    finally:
        run("ALTER TABLE lost RENAME TO copilot_chat_messages")


@contextmanager
def full_disk() -> Iterator[None]:
    run(
        """
        CREATE FUNCTION disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'could not extend file: secret words' USING ERRCODE = 'disk_full'; END $$
        """
    )
    run(
        "CREATE TRIGGER disk_is_full BEFORE INSERT ON copilot_chat_messages"
        " FOR EACH STATEMENT EXECUTE FUNCTION disk_is_full()"
    )
    try:
        yield
    finally:
        run("DROP FUNCTION disk_is_full CASCADE")


@contextmanager
def locked_table() -> Iterator[None]:
    """Somebody's maintenance holds the mirror, for longer than a best effort waits."""
    with ThreadPoolExecutor(1) as pool:

        def lock() -> None:
            transaction.set_autocommit(False)
            run("LOCK TABLE copilot_chat_messages IN EXCLUSIVE MODE")

        def let_go() -> None:
            transaction.rollback()
            connections.close_all()

        pool.submit(lock).result(20)
        try:
            yield
        finally:
            pool.submit(let_go).result(20)


FAULTS = [no_table, full_disk, locked_table]
PLACES: dict[str, Callable[[Scope, uuid.UUID], Any]] = {
    "send": lambda asker, chat: send(asker, chat, element("u2")),
    "terminal state": lambda asker, chat: end(chat, "u1", element("a1", "assistant")),
    "inbox": lambda asker, chat: (send(asker, chat, element("u2")), end(chat, "u2", element("a2", "assistant"))),
    "fork": lambda asker, chat: copilot.fork_chat(asker, chat, "u1"),
    "update-messages": lambda asker, chat: copilot.replace_messages(asker, chat, elements("u1", "u9"), version=0),
    "import": lambda asker, chat: copilot.import_chat(asker.user_id, title="", model="", elements=elements("u1")),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", PLACES)
def test_a_failing_mirror_is_counted_and_logged_and_reaches_nobody(
    asker: Scope,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    place: str,
    fault: Callable[[], AbstractContextManager[None]],
) -> None:
    settings.COPILOT_MESSAGES_PHASE = Phase.DUAL
    chat = chat_with(asker, "u1")
    with fault(), caplog.at_level(logging.WARNING, "chat"):
        PLACES[place](asker, chat)
    failed = list(CopilotChat.objects.filter(mirror_failures__gt=0))
    assert len(failed) == 1
    assert failed[0].mirror_failures == (2 if place == "inbox" else 1)
    assert (failed[0].pk == chat) == (place not in ("fork", "import"))
    assert str(failed[0].pk) in caplog.text
    assert "words" not in caplog.text
    assert failed[0].messages
    if failed[0].pk == chat:
        assert mirror(chat) == ["u1"]
        assert place in ("terminal state", "send", "inbox", "update-messages")
        assert len(array(chat)) == {"inbox": 3}.get(place, 2)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", PLACES)
def test_in_mirror_reads_the_request_fails_and_the_array_is_unchanged(
    asker: Scope, settings: Any, place: str, fault: Callable[[], AbstractContextManager[None]]
) -> None:
    settings.COPILOT_MESSAGES_PHASE = Phase.MIRROR_READS
    chat = chat_with(asker, "u1")
    with fault():
        run("SET lock_timeout = '300ms'")  # a role's own setting, in production
        try:
            with pytest.raises(DatabaseError):
                PLACES[place](asker, chat)
        finally:
            run("RESET lock_timeout")
    stored = CopilotChat.objects.get()
    assert (stored.pk, array(chat), mirror(chat)) == (chat, ["u1"], ["u1"])
    assert (stored.messages_version, stored.active_stream_id, stored.mirror_failures) == (0, None, 0)


def test_the_timeouts_of_a_best_effort_end_with_it(asker: Scope, settings: Any) -> None:
    settings.COPILOT_MESSAGES_PHASE = Phase.DUAL
    chat = chat_with(asker, "u1")
    with transaction.atomic():
        run("SET LOCAL statement_timeout = '77s'")
        copilot.write_user_message(copilot.lock_chat(asker, chat), element("u2"), stream_id="u2")
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')")
            assert cursor.fetchone() == ("77s", "0")
    assert CopilotMessage.objects.filter(chat=chat).count() == 2


def test_a_lost_connection_is_not_taken_for_a_failing_mirror(
    asker: Scope, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.COPILOT_MESSAGES_PHASE = Phase.DUAL
    chat = chat_with(asker, "u1")

    def cut(point: str) -> None:
        if point == "mirror:before":
            with ThreadPoolExecutor(1) as pool:
                pool.submit(kill, connection.connection.info.backend_pid).result(10)

    def kill(pid: int) -> None:
        run(f"SELECT pg_terminate_backend({pid})")
        connections.close_all()

    telemetry.commit_observers.append(cut)
    try:
        with pytest.raises(DatabaseError):
            send(asker, chat, element("u2"))
    finally:
        telemetry.commit_observers.remove(cut)
        drop_broken_connections()
    assert array(chat) == ["u1"]
    assert CopilotChat.objects.get().mirror_failures == 0
    assert "could not be written" not in caplog.text


@pytest.mark.parametrize("place", PLACES)
def test_a_reconcile_mends_what_a_failing_mirror_left_and_forgets_the_failures(
    asker: Scope, settings: Any, place: str
) -> None:
    settings.COPILOT_MESSAGES_PHASE = Phase.DUAL
    chat = chat_with(asker, "u1")
    with no_table():
        PLACES[place](asker, chat)
    chats = list(CopilotChat.objects.values_list("pk", flat=True))
    call_command("reconcile_messages", "--repair", stdout=StringIO())
    assert_mirrored(*chats)
    assert not CopilotChat.objects.filter(mirror_failures__gt=0).exists()
    call_command("reconcile_messages", "--check", stdout=StringIO())
    assert ReconcileRun.objects.latest("pk").is_clean
