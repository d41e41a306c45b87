"""The command as it is typed: options, exit codes, what it prints for people and for programs, what it records."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import termios
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat.management.commands.reconcile_messages import Command
from chat.management.intervals import interval
from chat.models import CopilotChat, ReconcileRun
from chat.store.scope import Scope
from tests.acceptance.server import ROOT
from tests.copilot.chats import chat_with, element, mirror
from tests.copilot.reconciling import arguments, command, execute
from tests.copilot.reconciling import settings as environment

NOWHERE = "postgresql://nobody@/nothing?host=/nonexistent&connect_timeout=1"
SECRET = "words of u1"


@pytest.fixture
def damaged(asker: Scope) -> uuid.UUID:
    """A chat with one drift of each kind and one element that is no object."""
    chat = chat_with(asker, messages=[*(element(f"u{n}") for n in range(1, 6)), "no object"])
    execute("DELETE FROM copilot_chat_messages WHERE message_id = 'u1'")
    execute("UPDATE copilot_chat_messages SET role = 'nobody' WHERE message_id = 'u2'")
    execute("UPDATE copilot_chat_messages SET message_id = 'stranger' WHERE message_id = 'u3'")
    execute("UPDATE copilot_chat_messages SET seq = 7 - seq WHERE message_id IN ('u4', 'u5')")
    return chat


@pytest.mark.django_db(transaction=True)
def test_exit_codes_say_whether_drift_is_left(damaged: uuid.UUID) -> None:
    checked = command("--check")
    assert checked.returncode == 1
    assert "Drift is left" in checked.stdout
    assert command().returncode == 1
    mended = command("--repair")
    assert mended.returncode == 0, mended.stderr
    assert "No drift is left." in mended.stdout
    assert command("--check", "--since", "7 days").returncode == 0
    assert mirror(damaged) == ["u1", "u2", "u3", "u4", "u5"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("options", "phase", "told"),
    [
        (["--since="], "dual", "is no length of time"),
        (["--since", "7", "days"], "dual", "is no length of time"),
        (["--since", "a week ago"], "dual", "'30 min', '12 hours', '7 days', '2 weeks'"),
        (["--check", "--repair"], "dual", "not allowed with"),
        (["--since", "7 days", "--chat", str(uuid.UUID(int=1))], "dual", "not allowed with"),
        (["--chat", "7"], "dual", "invalid UUID value"),
        (["--chat", str(uuid.UUID(int=1))], "dual", f"There is no chat {uuid.UUID(int=1)}"),
        (["--batch-size", "0"], "dual", "is not a number from 1 to 10000"),
        (["--nonsense"], "dual", "unrecognized arguments"),
        (["--from-mirror"], "dual", "the arrays are the truth"),
        (["--from-mirror", "--since", "1 day"], "mirror_only", "no --since"),
        ([], "mirror_only", "run it with --from-mirror"),
        (["--check"], "mirror_only", "run it with --from-mirror"),
        ([], "nonsense", "COPILOT_MESSAGES_PHASE"),
    ],
)
def test_what_cannot_be_done_is_said_and_is_exit_code_2(
    options: list[str], phase: str, told: str, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.COPILOT_MESSAGES_PHASE = phase
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "reconcile_messages", *options])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert not ReconcileRun.objects.exists()


def test_a_database_that_is_away_is_exit_code_2() -> None:
    done = subprocess.run(
        arguments("--json"),
        env={**os.environ, "DEBUG": "1", "DJANGO_SETTINGS_MODULE": "chatproject.settings", "DATABASE_URL": NOWHERE},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "OperationalError" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.django_db(transaction=True)
def test_a_database_without_the_tables_is_exit_code_2() -> None:
    execute("ALTER TABLE copilot_reconcile_runs RENAME TO lost")
    try:
        done = command()
    finally:
        execute("ALTER TABLE lost RENAME TO copilot_reconcile_runs")
    assert done.returncode == 2
    assert 'relation "copilot_reconcile_runs" does not exist' in done.stderr


@pytest.mark.django_db(transaction=True)
def test_the_json_document_tells_everything_and_no_word_of_a_message(damaged: uuid.UUID) -> None:
    done = command("--check", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["rejected"] == [
        {
            "chat": str(damaged),
            "message_id": None,
            "index": 5,
            "seq": None,
            "problem": "no_object",
            "kept": False,
        }
    ]
    assert told["found"] == {"missing": 2, "changed": 1, "extra": 1, "misordered": 2, "rejected": 1}
    assert told["left"] == {"missing": 2, "changed": 1, "extra": 1, "misordered": 2}
    assert told["mended"] == {"missing": 0, "changed": 0, "extra": 0, "misordered": 0}
    assert (told["mode"], told["scope"], told["phase"], told["is_clean"]) == ("check", "all", "dual", False)
    assert (told["chats"], told["messages"], told["busy"], told["behind"]) == (1, 6, [], [])
    places = {(one["kind"], one["message_id"], one["index"], one["seq"]) for one in told["examples"]}
    assert places == {
        ("missing", "u1", 0, None),
        ("missing", "u3", 2, None),
        ("changed", "u2", 1, 1),
        ("extra", "stranger", None, 2),
        ("misordered", "u4", 3, 4),
        ("misordered", "u5", 4, 3),
    }
    run = ReconcileRun.objects.get(pk=told["run"])
    assert (run.found, run.is_clean, run.chats, run.messages) == (told["found"], False, 1, 6)
    assert run.finished_at is not None
    assert {one["kind"] for one in run.examples} == {"missing", "changed", "extra", "misordered", "rejected"}
    assert SECRET not in done.stdout + done.stderr + json.dumps(run.examples)


@pytest.mark.django_db(transaction=True)
def test_the_document_of_a_run_that_wrote_says_what_and_for_how_long_it_held_locks(damaged: uuid.UUID) -> None:
    told = json.loads(command("--repair", "--json").stdout)
    assert told["mended"] == {"missing": 2, "changed": 1, "extra": 1, "misordered": 2}
    assert told["is_clean"]
    assert told["locks"]["transactions"] == 1
    assert 0 < told["locks"]["p99_ms"] <= told["locks"]["max_ms"]


@pytest.mark.django_db(transaction=True)
def test_a_document_is_whole_also_where_the_run_broke_off(damaged: uuid.UUID) -> None:
    execute("ALTER TABLE copilot_chat_messages RENAME TO lost")
    try:
        done = command("--json")
    finally:
        execute("ALTER TABLE lost RENAME TO copilot_chat_messages")
    assert done.returncode == 2
    assert "copilot_chat_messages" in json.loads(done.stdout)["error"]
    run = ReconcileRun.objects.get()
    assert (run.is_clean, run.finished_at) == (None, None)


@pytest.mark.django_db
def test_people_get_counts_and_examples(damaged: uuid.UUID) -> None:
    out = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("reconcile_messages", "--check", stdout=out, no_color=True)
    assert ended.value.code == 1
    told = out.getvalue()
    assert "Comparing all copilot chats: 1 (phase dual)" in told
    for kind, number in (("missing", 2), ("changed", 1), ("extra", 1), ("misordered", 2)):
        assert f"  {kind:<11}{number:>9}{0:>9}{number:>9}\n" in told
    assert f"  chat {damaged}  message u1  index 0\n" in told
    assert f"  chat {damaged}  message u2  index 1  seq 1\n" in told
    assert f"  chat {damaged}  message stranger  seq 2\n" in told
    assert f"  chat {damaged}  index 5  no object: not mirrored\n" in told
    assert SECRET not in told


@pytest.mark.django_db
def test_all_that_was_rejected_is_listed_for_who_asks(asker: Scope) -> None:
    chat_with(asker, messages=["no object"] * 30)
    out, full = io.StringIO(), io.StringIO()
    call_command("reconcile_messages", stdout=out, no_color=True)
    call_command("reconcile_messages", stdout=full, verbosity=2, no_color=True)
    assert "rejected, the first 5 of 30; -v 2 or --json lists all" in out.getvalue()
    assert out.getvalue().count("no object: not mirrored") == 5
    assert full.getvalue().count("rejected: chat") == 30


@pytest.mark.django_db
def test_a_check_writes_nothing_but_its_record(damaged: uuid.UUID) -> None:
    execute("UPDATE copilot_chats SET mirror_failures = 3")
    with CaptureQueriesContext(connection) as queries, pytest.raises(SystemExit):
        call_command("reconcile_messages", "--check", stdout=io.StringIO())
    written = [one["sql"] for one in queries if one["sql"].lstrip().startswith(("INSERT", "UPDATE", "DELETE"))]
    assert ["copilot_reconcile_runs" in sql for sql in written] == [True, True]
    assert not any("FOR NO KEY UPDATE" in one["sql"] for one in queries)
    assert CopilotChat.objects.get().mirror_failures == 3


@pytest.mark.django_db
def test_since_takes_the_chats_that_were_changed(asker: Scope) -> None:
    old, new = (chat_with(asker, "u1", mirrored=False) for _ in range(2))
    execute("UPDATE copilot_chats SET updated_at = now() - interval '8 days' WHERE id = %s", old)
    for text in ("7 days", "7days", "1w", "168h", "10080 min"):
        out = io.StringIO()
        call_command("reconcile_messages", "--since", text, stdout=out)
        assert "1 chats, 1 messages" in out.getvalue()
    assert (mirror(old), mirror(new)) == ([], ["u1"])
    assert set(ReconcileRun.objects.values_list("scope", flat=True)) == {
        f"since {text}" for text in ("7 days", "7days", "1w", "168h", "10080 min")
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7 days", 7 * 86_400),
        ("7days", 7 * 86_400),
        ("1 day", 86_400),
        ("12h", 43_200),
        ("12 hours", 43_200),
        ("30 min", 1_800),
        ("30 minutes", 1_800),
        ("90s", 90),
        ("45 Sec", 45),
        (" 2 weeks ", 14 * 86_400),
        ("36500 days", 36_500 * 86_400),
    ],
)
def test_a_length_of_time_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert interval(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "7", "days", "7m", "7 months", "1 year", "-7 days", "0 days", "1.5 h", "7  days", "7 days ago"),
        *("1 day 2 h", "7 days; DROP TABLE x", "'7 days'", "36501 days", "999999999 weeks", "9999999999 s", "٧ days"),
        *("7 d\nays", "1e3 s", "0x10 s", "7\u00a0days", "P7D", "ss", "7 ds"),
    ],
)
def test_what_is_no_length_of_time_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(ValueError, match="write '30 min', '12 hours', '7 days', '2 weeks'"):
        interval(text)


@pytest.mark.django_db(transaction=True)
def test_on_a_terminal_there_is_a_bar_with_rate_and_time_left(asker: Scope) -> None:
    for _ in range(12):
        chat_with(asker, "u1", "a1", mirrored=False)
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(ROOT)
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.execve(arguments()[0], arguments("--batch-size", "2"), environment())
    seen = b""
    while True:
        try:
            some = os.read(terminal, 65536)
        except OSError:
            break
        if not some:
            break
        seen += some
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    shown = seen.decode()
    assert " of 12 chats · " in shown
    assert " messages · " in shown
    assert "/s · " in shown
    assert " left" in shown
    assert "\x1b[32;1mNo drift is left.\x1b[0m" in shown


@pytest.mark.django_db
def test_an_interrupted_run_says_that_it_may_go_on(asker: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    chat_with(asker, "u1", mirrored=False)

    def interrupted(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("chat.store.reconcile._fill", interrupted)
    with pytest.raises(CommandError, match="run it again to go on") as ended:
        call_command("reconcile_messages", stdout=io.StringIO())
    assert ended.value.returncode == 130
    assert ReconcileRun.objects.get().is_clean is None
