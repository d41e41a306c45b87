"""From the command line to a stored turn, on every server, and what is left when it ends in whatever way."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatproject import embedded_postgres
from tests.acceptance.postgres_owners import shared_folder
from tests.acceptance.server import ROOT, Server, eventually
from tests.asgi_client import said

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for left-over processes in /proc"),
]
KINDS = ["uvicorn", "daphne", "granian"]


reachable = pytest.fixture(shared_folder)


@pytest.fixture
def server(reachable: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(reachable, kind=getattr(request, "param", "uvicorn"))
    try:
        yield server
    finally:
        server.stop()
        assert eventually(lambda: not server.processes()), f"left over: {server.processes()}"


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


@pytest.mark.parametrize("server", KINDS, indirect=True)
def test_a_turn_is_streamed_stored_and_outlives_its_reader(server: Server) -> None:
    server.start()
    with server.client(server.token()) as client:
        whole = client.post("/api/chat", json=said("t1", "/tool"))
        assert whole.status_code == 200
        assert whole.text.endswith("data: [DONE]\n\n")
        assert turn_of(client, "t1")["metadata"]["status"] == "completed"

        hang_up_after(client, said("t2", "/tokens 60 10"), events=3)
        assert eventually(lambda: turn_of(client, "t2")["role"] == "assistant")
        answer = turn_of(client, "t2")
        assert answer["metadata"]["status"] == "completed"
        assert answer["parts"][-1]["text"] == "".join(f"w{number} " for number in range(1, 61))


@pytest.mark.parametrize("server", KINDS, indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_stores_its_live_turns_first(server: Server, number: signal.Signals) -> None:
    server.start()
    token = server.token()
    with server.client(token) as client, client.stream("POST", "/api/chat", json=said("t1", "/hang")) as stream:
        lines = stream.iter_lines()
        while '"text-delta"' not in next(lines):
            pass
        server.signal_group(number)
        rest = list(lines)
    assert "data: [DONE]" in rest
    server.wait()
    assert eventually(lambda: not server.processes())

    server.start()
    with server.client(token) as client:
        answer = turn_of(client, "t1")
        assert answer["metadata"]["status"] == "interrupted"
        assert answer["parts"][-1]["text"] == "Hanging … "


def test_make_run_starts_twice_and_the_second_time_in_under_ten_seconds(server: Server) -> None:
    command = ("make", "run", f"VENV={Path(sys.prefix)}", f"PORT={server.port}")
    if not (Path(sys.prefix) / ".run").exists():
        pytest.skip("these tests do not run in a virtual environment that make has made")
    server.start(*command)
    assert "demo / demo" in server.log.read_text()
    server.signal_group(signal.SIGINT)
    server.wait()
    assert eventually(lambda: not server.processes()), "Ctrl-C left something running"

    assert server.start(*command) < 10


def test_nothing_keeps_the_next_start_from_working_after_a_kill(server: Server) -> None:
    server.start()
    token = server.token()
    with server.client(token) as client:
        client.post("/api/chat", json=said("t1", "/tokens 2 0"))
    server.signal_group(signal.SIGKILL)
    server.wait()
    server.start()
    with server.client(token) as client:
        assert turn_of(client, "t1")["parts"][-1]["text"] == "w1 w2 "


def test_with_a_database_url_no_database_is_started(server: Server, tmp_path: Path) -> None:
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
