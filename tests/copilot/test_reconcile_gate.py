"""What is recorded of runs decides which phase may be: a system check, asked before the project is served."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command

from chat.conf import Phase
from chat.models import CopilotChat, CopilotMessage, ReconcileMode, ReconcileRun
from chat.store import copilot
from chat.store.chats import create_chat
from chat.store.reconcile_runs import begin_run, finish_run, last_full_check
from chat.store.scope import Scope
from tests.acceptance.server import ROOT
from tests.copilot.chats import array, chat_with, element
from tests.copilot.reconciling import execute
from tests.copilot.reconciling import settings as environment

pytestmark = pytest.mark.django_db
STEPS = "docs/migrating-from-jsonb.md"


def refusals(settings: Any, phase: str) -> list[str]:
    """The ids of what forbids a phase."""
    settings.COPILOT_MESSAGES_PHASE = phase
    return [message.id or "" for message in run_checks(tags=["database"], databases=["default"])]


def run(mode: str = "check", scope: str = "all", *, clean: bool = True, phase: Phase = Phase.DUAL) -> None:
    finish_run(
        begin_run(ReconcileMode(mode), scope, phase),
        chats=1,
        messages=1,
        found={},
        mended={},
        examples=[],
        is_clean=clean,
    )


READS_MIRROR = ["mirror_reads", "mirror_only"]
READS_ARRAY = ["jsonb", "dual"]


@pytest.mark.parametrize("phase", READS_MIRROR)
def test_the_mirror_is_read_only_after_a_full_run_that_left_no_drift(asker: Scope, settings: Any, phase: str) -> None:
    chat_with(asker, "u1")
    assert refusals(settings, phase) == ["chat.E003"]
    run(clean=False)
    assert refusals(settings, phase) == ["chat.E003"]
    for mode in ("check", "insert", "repair"):
        run(mode, clean=True)
        assert refusals(settings, phase) == []
        run(mode, clean=False)
        assert refusals(settings, phase) == ["chat.E003"]


def test_runs_over_some_chats_and_unfinished_ones_decide_nothing(asker: Scope, settings: Any) -> None:
    chat_with(asker, "u1")
    run()
    run(scope="since 7 days", clean=False)
    run(scope="chat 1", clean=False)
    run("from_mirror", clean=False)
    begin_run(ReconcileMode.CHECK, "all", Phase.DUAL)
    assert refusals(settings, "mirror_only") == []
    found = last_full_check()
    assert found is not None
    assert (found.mode, found.is_clean) == (ReconcileMode.CHECK, True)


def test_no_run_is_no_full_check() -> None:
    assert last_full_check() is None


@pytest.mark.parametrize("phase", READS_ARRAY)
def test_arrays_are_read_only_where_none_lacks_messages(asker: Scope, settings: Any, phase: str) -> None:
    chat_with(asker, "u1")
    assert refusals(settings, phase) == []
    run()
    assert refusals(settings, phase) == []
    chat_with(asker, "u1", array_behind=True)
    assert refusals(settings, phase) == ["chat.E003"]
    assert refusals(settings, "mirror_reads") == refusals(settings, "mirror_only") == []


def test_a_new_project_may_begin_in_any_phase(settings: Any) -> None:
    assert [refusals(settings, phase) for phase in Phase] == [[], [], [], []]


@pytest.mark.parametrize("phase", READS_MIRROR)
def test_a_run_in_phase_jsonb_decides_nothing(asker: Scope, settings: Any, phase: str) -> None:
    """What is written there goes past the mirror."""
    chat_with(asker, "u1")
    run(phase=Phase.JSONB)
    assert refusals(settings, phase) == ["chat.E003"]
    run()
    run(phase=Phase.JSONB, clean=False)
    assert refusals(settings, phase) == []


@pytest.mark.parametrize("phase", READS_MIRROR)
def test_a_mirror_that_could_not_be_written_since_is_not_read(asker: Scope, settings: Any, phase: str) -> None:
    chat = chat_with(asker, "u1", mirrored=False)
    run()
    CopilotChat.objects.filter(pk=chat).update(mirror_failures=1)
    assert refusals(settings, phase) == ["chat.E003"]
    assert refusals(settings, "dual") == []
    call_command("reconcile_messages", "--repair", stdout=io.StringIO())
    assert refusals(settings, phase) == []


def test_a_project_that_began_in_mirror_only_starts_again(asker: Scope, settings: Any) -> None:
    settings.COPILOT_MESSAGES_PHASE = "mirror_only"
    copilot.import_chat(asker.user_id, title="", model="", elements=[element("u1")])
    create_chat(asker)
    assert refusals(settings, "mirror_only") == refusals(settings, "mirror_reads") == []
    assert refusals(settings, "dual") == ["chat.E003"]


def test_where_the_arrays_were_let_go_they_are_not_taken_for_the_truth(asker: Scope, settings: Any) -> None:
    """The statement of step 6, as it stands in the documentation."""
    chats = [chat_with(asker, "u1", "a1"), chat_with(asker, "u2")]
    run()
    before = sorted(CopilotMessage.objects.values_list("chat", "message_id"))
    (statement,) = re.findall(
        r"^    (UPDATE copilot_chats .*?;)$", (ROOT / STEPS).read_text(), re.MULTILINE | re.DOTALL
    )
    execute(statement.replace("\n    ", " "))
    assert [refusals(settings, phase) for phase in Phase] == [["chat.E003"], ["chat.E003"], [], []]
    settings.COPILOT_MESSAGES_PHASE = "mirror_reads"
    with pytest.raises(SystemExit):
        call_command("reconcile_messages", "--repair", stdout=io.StringIO())
    assert sorted(CopilotMessage.objects.values_list("chat", "message_id")) == before
    call_command("reconcile_messages", "--from-mirror", stdout=io.StringIO())
    assert [array(chat) for chat in chats] == [["u1", "a1"], ["u2"]]
    call_command("reconcile_messages", "--check", stdout=io.StringIO())


def test_a_phase_that_is_none_is_refused(settings: Any) -> None:
    assert refusals(settings, "nonsense") == ["chat.E004"]


def test_checks_without_a_database_do_not_ask_it(asker: Scope, settings: Any, django_assert_num_queries: Any) -> None:
    chat_with(asker, "u1")
    settings.COPILOT_MESSAGES_PHASE = "mirror_only"
    with django_assert_num_queries(0):
        assert "chat.E003" not in [message.id for message in run_checks(databases=[])]


def test_the_record_of_a_real_run_opens_the_gate(asker: Scope, settings: Any) -> None:
    chat_with(asker, "u1", "a1", mirrored=False)
    with pytest.raises(SystemExit):
        call_command("reconcile_messages", "--check", stdout=io.StringIO())
    assert refusals(settings, "mirror_reads") == ["chat.E003"]
    settings.COPILOT_MESSAGES_PHASE = "dual"
    call_command("reconcile_messages", stdout=io.StringIO())
    assert refusals(settings, "mirror_reads") == []
    assert list(ReconcileRun.objects.order_by("id").values_list("mode", "is_clean")) == [
        ("check", False),
        ("insert", True),
    ]


@pytest.mark.django_db(transaction=True)
def test_a_project_in_a_forbidden_phase_is_not_served(asker: Scope) -> None:
    chat_with(asker, "u1")
    done = subprocess.run(
        [sys.executable, "manage.py", "serve", "--port", "0"],
        env=environment("mirror_only"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "chat.E003" in done.stderr
    assert "reconcile_messages --check" in done.stderr


@pytest.mark.django_db(transaction=True)
def test_a_database_that_was_not_migrated_is_somebody_elses_to_say(settings: Any) -> None:
    execute("ALTER TABLE copilot_chats RENAME COLUMN array_behind TO lost")
    try:
        assert refusals(settings, "mirror_only") == []
    finally:
        execute("ALTER TABLE copilot_chats RENAME COLUMN lost TO array_behind")
    assert CopilotChat.objects.count() == 0
