"""From the command line to a stored turn, on every server, and what is left when it ends in whatever way."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from chat.testing.client import said
from chat.testing.readers import Reader
from chat.testing.servers import eventually
from chatproject import embedded_postgres
from tests.acceptance.postgres_owners import shared_folder
from tests.acceptance.server import ROOT, DemoServer
from tests.acceptance.together import together

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for left-over processes in /proc"),
]
KINDS = ["uvicorn", "daphne", "granian"]


reachable = pytest.fixture(shared_folder)


@contextmanager
def server_in(folder: Path, kind: str = "uvicorn", **settings: object) -> Iterator[DemoServer]:
    server = DemoServer(folder, kind=kind, **settings)
    try:
        yield server
    finally:
        server.stop()
        assert eventually(lambda: not server.processes()), f"left over: {server.processes()}"


@pytest.fixture
def server(reachable: Path) -> Iterator[DemoServer]:
    with server_in(reachable) as server:
        yield server


@pytest.fixture(scope="module")
def lives(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """What each kind of server does from its first start to its last: all of them at once, and beside no other test,
    since one is about seconds.
    """

    def run(kind: str) -> None:
        with contextmanager(shared_folder)() as folder, server_in(folder, kind, CHAT_DRAIN_SECONDS=1) as server:
            live(server)

    with together(request, "kind", run, at_once=len(KINDS)) as cases:
        wait(cases.values())
        yield cases


def turn_of(client: httpx.Client, thread: str) -> dict[str, Any]:
    """The last message of a thread: the answer."""
    response = client.get(f"/api/threads/{thread}/messages/")
    results: list[dict[str, Any]] = response.raise_for_status().json()["results"]
    return results[-1]


def hang_up_after(client: httpx.Client, body: dict[str, Any], events: int) -> None:
    with client.stream("POST", "/api/chat", json=body) as stream:
        seen = 0
        for line in stream.iter_lines():
            seen += line.startswith("data:")
            if seen == events:
                return


@pytest.mark.parametrize("kind", KINDS)
def test_turns_are_streamed_and_stored_outlive_their_readers_and_are_ended_by_either_signal(
    lives: dict[str, Future[None]], kind: str
) -> None:
    lives[kind].result()


def live(server: DemoServer) -> None:
    """On one database: a reader that stays, one that leaves, and twice a turn that is live when the server is told to
    stop.
    """
    server.start()
    token = server.token()
    with server.client(token) as client:
        whole = client.post("/api/chat", json=said("t1", "/tool"))
        assert whole.status_code == 200
        assert whole.text.endswith("data: [DONE]\n\n")
        assert turn_of(client, "t1")["metadata"]["status"] == "completed"

        hang_up_after(client, said("t2", "/tokens 60 10"), events=3)
        assert eventually(lambda: turn_of(client, "t2")["role"] == "assistant")
        answer = turn_of(client, "t2")
        assert answer["metadata"]["status"] == "completed"
        assert answer["parts"][-1]["text"] == "".join(f"w{number} " for number in range(1, 61))
    for number in (signal.SIGTERM, signal.SIGINT):
        live_turns_are_stored_first(server, token, number)


def live_turns_are_stored_first(server: DemoServer, token: str, number: signal.Signals) -> None:
    thread = number.name
    with server.client(token) as client:
        reader = Reader(client, "POST", "/api/chat", json=said(thread, "/hang"), resumes=server.cuts_readers_off)
        reader.until(b'"text-delta"')
        server.signal_group(number)
        server.wait()
        assert eventually(lambda: not server.processes())

        server.start()
        answer = turn_of(client, thread)
        assert answer["metadata"]["status"] == "interrupted"
        assert answer["parts"][-1]["text"] == "Hanging … "
        reader.whole()


def test_make_run_starts_twice_and_the_second_time_in_under_ten_seconds(server: DemoServer) -> None:
    command = ("make", "run", f"VENV={Path(sys.prefix)}", f"PORT={server.port}")
    if not (Path(sys.prefix) / ".run").exists():
        pytest.skip("these tests do not run in a virtual environment that make has made")
    server.start(*command)
    assert "demo / demo" in server.log.read_text()
    server.signal_group(signal.SIGINT)
    server.wait()
    assert eventually(lambda: not server.processes()), "Ctrl-C left something running"

    assert server.start(*command) < 10


@pytest.mark.django_db
def test_an_account_that_everybody_knows_gets_into_no_database_but_the_embedded_one_unless_told_to(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []
    monkeypatch.setattr("os.execv", lambda *command: served.append(command))  # the server that takes the process over
    users = get_user_model().objects.filter(username="demo")
    settings.DEBUG, settings.EMBEDDED_POSTGRES = True, None
    with pytest.raises(CommandError, match="not the embedded database"):
        call_command("serve", "--migrate", "--demo")
    settings.DEBUG, settings.EMBEDDED_POSTGRES = False, Path("/somewhere")
    with pytest.raises(CommandError, match="needs DEBUG"):
        call_command("serve", "--demo", "anywhere")
    assert (users.count(), served) == (0, [])
    settings.DEBUG, settings.EMBEDDED_POSTGRES = True, None
    call_command("serve", "--demo", "anywhere")
    assert users.get().is_superuser
    assert served


def test_nothing_keeps_the_next_start_from_working_after_a_kill(server: DemoServer) -> None:
    server.start()
    token = server.token()
    with server.client(token) as client:
        client.post("/api/chat", json=said("t1", "/tokens 2 0"))
    server.signal_group(signal.SIGKILL)
    server.wait()
    server.start()
    with server.client(token) as client:
        assert turn_of(client, "t1")["parts"][-1]["text"] == "w1 w2 "


def test_with_a_database_url_no_database_is_started(server: DemoServer, tmp_path: Path) -> None:
    server.start()
    elsewhere = tmp_path / "elsewhere"
    url = embedded_postgres.dsn(server.folder / "data" / "postgres")
    made = subprocess.run(
        [sys.executable, "manage.py", "create_token", "demo"],
        cwd=ROOT,
        env=server.environment | {"DATABASE_URL": url, "DATA_DIR": str(elsewhere)},
        check=True,
        capture_output=True,
    )
    assert made.stdout.startswith(b"chat_")
    assert not elsewhere.exists()
