"""Chat, installed into a project that has ways of its own: ``host_project``, which the app's wheel is all that it has
of us. It has another URL prefix, user model, router, framework settings, middleware, language and time zone.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from websockets.sync.client import connect

from chat.protocol import sse
from chat.testing.client import said
from chat.testing.invariants import assert_database_is_sound
from chat.testing.readers import Reader, assert_shown_is_stored
from chat.testing.servers import Server, eventually, running
from tests.acceptance.database import Postgres
from tests.acceptance.server import ROOT
from tests.acceptance.test_sockets import cursors_and_chunks, until

pytestmark = pytest.mark.timeout(300)
PROJECT = Path(__file__).parent / "host_project"
SWAGGER = "/assets/drf_spectacular_sidecar/swagger-ui-dist"
PEOPLE = """
from django.contrib.auth import get_user_model
people = get_user_model()._default_manager.using("default")
for name in ("ada", "ben"):
    get_user_model()(username=name, is_staff=name == "ada", is_superuser=name == "ada").save(using="default")
"""


TOLD_BY_CHECK = """
from django.core.checks import run_checks
for one in run_checks(databases=["default"]):
    print(one.id, one.msg)
"""


@dataclass
class Host:
    """The project's folder, with the app beside it as pip installs it, and two databases: one was a copy of the other
    when the people had been made, and lags behind ever since.
    """

    folder: Path
    primary: str
    replica: str

    @property
    def environment(self) -> dict[str, str]:
        ours = ("DJANGO_", "CHAT_", "DATABASE", "PYTHONPATH")
        return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
            "PYTHONPATH": f"{self.folder}:{self.folder / 'installed'}",
            "DJANGO_SETTINGS_MODULE": "assistant.settings",
            "PRIMARY_URL": self.primary,
            "REPLICA_URL": self.replica,
            "STATIC_FOLDER": str(self.folder / "static"),
        }

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def manage(self, *command: str) -> str:
        return self.run("django", *command)

    def server(self, fault: str = "") -> Server:
        # -P and --app-dir: the working folder is the repository, and nothing of it is to be found.
        words = ("-P", "-m", "uvicorn", "assistant.asgi:application", "--app-dir", str(self.folder), "--port", "{port}")
        return Server(
            (sys.executable, *words, "--log-level", "warning"),
            self.folder,
            environment=self.environment,
            ready="/assistant/readyz",
            fault=fault,
        )

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.primary) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def host(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Host:
    folder = tmp_path_factory.mktemp("host") / "project"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    source = folder / "source"
    shutil.copytree(ROOT / "chat", source / "chat", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, source)
    url = postgres.database().url
    primary, replica = (url.replace(url.split("/")[3].split("?")[0], name) for name in ("host", "host_replica"))
    host = Host(folder, primary, replica)
    host.run("pip", "install", "-q", "--no-deps", "--target", str(folder / "installed"), str(source))
    shutil.rmtree(source)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE host")
        host.manage("migrate", "-v", "0")
        host.manage("shell", "-v", "0", "-c", PEOPLE)
        connection.execute("CREATE DATABASE host_replica TEMPLATE host")
    return host


@pytest.fixture(scope="module")
def served(host: Host) -> Iterator[Server]:
    server = host.server()
    with running(server):
        yield server


@pytest.fixture
def badge(served: Server) -> Iterator[httpx.Client]:
    """Ada, as the host's own gateway says."""
    with httpx.Client(base_url=f"{served.url}/assistant", headers={"X-Badge": "ada"}, timeout=30) as client:
        yield client


def test_the_wheel_holds_all_that_the_app_needs(host: Host) -> None:
    installed = host.folder / "installed" / "chat"
    for kind in ("templates", "static"):
        files = {path.relative_to(ROOT) for path in (ROOT / "chat" / kind).rglob("*") if path.is_file()}
        assert files
        assert not {file for file in files if not (host.folder / "installed" / file).exists()}
    assert len(list(installed.glob("migrations/0*.py"))) == len(list((ROOT / "chat").glob("migrations/0*.py")))
    assert "No changes detected" in host.manage("makemigrations", "--check", "--dry-run")
    host.manage("collectstatic", "--noinput", "-v", "0")
    assert list((host.folder / "static" / "chat").rglob("*.js"))


def test_a_turn_is_sent_streamed_resumed_and_read_under_another_prefix(badge: httpx.Client) -> None:
    sent = badge.post("/api/chat", json=said("t1", "/tokens 5", "m1"))
    assert sent.status_code == 200, sent.text
    events = sse.parse(sent.content)
    cursor = events[3].cursor
    again = badge.get("/api/chat/t1/stream", params={"after": cursor})
    assert sse.parse(again.content) == events[4:]
    threads = badge.get("/api/threads/").json()["results"]
    (thread,) = (one for one in threads if one["client_id"] == "t1")
    page = badge.get("/api/threads/t1/messages/", params={"limit": 1})
    assert page.headers["X-Stamp"] == "the host was here"
    following = page.json()["next"]
    assert following.startswith("/assistant/api/threads/t1/messages/")
    rest = httpx.get(badge.base_url.join(following), headers=badge.headers).json()["results"]
    roles = [one["role"] for one in (*rest, *page.json()["results"])]
    assert roles == ["user", "assistant"]
    state = badge.get("/api/threads/t1/state/").json()
    assert state["thread"]["id"] == thread["id"]
    assert state["messages"][0]["created_at"].endswith("+00:00")
    share = badge.post("/api/threads/t1/shares/", json={}).json()
    assert share["path"].startswith("/assistant/api/shared/")
    anybody = httpx.get(badge.base_url.join(share["path"]))
    assert len(anybody.json()["messages"]) == 2
    shown = httpx.get(badge.base_url.join(share["path"].replace("/api/", "/")))
    assert (shown.status_code, "w5" in shown.text) == (200, True), shown.text
    assert badge.get("/api/search/", params={"q": "w4"}).json()["results"]
    page = badge.get("/api/docs/").raise_for_status().text
    scripts = re.findall(r'<script src="([^"]+)"', page)
    assert scripts[:2] == [f"{SWAGGER}/swagger-ui-bundle.js", f"{SWAGGER}/swagger-ui-standalone-preset.js"]
    assert "://" not in page, "it runs with the reader's session: nothing of another host"
    assert "SwaggerUIBundle" in badge.get(scripts[2].removeprefix("/assistant")).raise_for_status().text
    assert "/assistant/api/chat" in badge.get("/api/schema/", params={"format": "json"}).text


def test_a_socket_lets_in_whom_the_host_s_authenticator_knows(badge: httpx.Client, served: Server) -> None:
    assert badge.post("/api/chat", json=said("t2", "/tokens 1", "m1")).status_code == 200
    address = served.url.replace("http", "ws", 1) + "/assistant/ws/threads/t2/"
    with connect(address, additional_headers={"X-Badge": "ada"}, open_timeout=20) as socket:
        submitted = badge.post("/api/chat", json=said("t2", "/tokens 4", "m2"))
        heard = cursors_and_chunks(until(socket, "completed"))
    assert heard == [(event.cursor, event.chunk) for event in sse.parse(submitted.content)[:-1]]


def test_who_has_no_badge_learns_nothing(served: Server) -> None:
    with httpx.Client(base_url=f"{served.url}/assistant") as stranger:
        for method, path in (("GET", "/api/threads/"), ("GET", "/api/chat/t1/stream"), ("POST", "/api/chat")):
            answer = stranger.request(method, path, json=None if method == "GET" else said("t1", "x", "m9"))
            assert answer.status_code == 401, (path, answer.text)
            assert answer.json()["error"]["code"] == "not_authenticated"
    assert httpx.get(f"{served.url}/assistant/api/shared/nothing/").status_code == 404
    assert httpx.get(f"{served.url}/assistant/healthz").status_code == 200


def test_without_its_database_the_host_is_alive_and_not_ready(served: Server, host: Host) -> None:
    def probed(name: str) -> tuple[int, str]:
        answer = httpx.get(f"{served.url}/assistant/{name}", headers={"Host": "10.0.0.7"}, timeout=20)
        return answer.status_code, answer.json()["status"]

    away = (503, "the database does not answer")
    with psycopg.connect(host.replica, autocommit=True) as beside:
        beside.execute("ALTER DATABASE host ALLOW_CONNECTIONS false")
        try:
            beside.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'host'")
            assert eventually(lambda: probed("readyz") == away), probed("readyz")
            assert probed("healthz") == (200, "ok")
        finally:
            beside.execute("ALTER DATABASE host ALLOW_CONNECTIONS true")
    assert eventually(served.answers)


def test_what_was_written_is_read_though_the_replica_lags(served: Server, host: Host) -> None:
    token = host.manage("create_token", "ben", "--name", "to be revoked").strip()
    with served.client(token) as ben:
        ben.base_url = httpx.URL(f"{served.url}/assistant")
        assert ben.post("/api/chat", json=said("b1", "/tokens 2", "m1")).status_code == 200
        assert len(ben.get("/api/threads/b1/messages/").json()["results"]) == 2
        (kept,) = [one for one in ben.get("/api/tokens/").json()["results"] if one["name"] == "to be revoked"]
        assert ben.delete(f"/api/tokens/{kept['id']}/").status_code == 204
        for path in ("/api/threads/", "/api/chat/b1/stream"):
            assert ben.get(path).status_code == 401
    with psycopg.connect(host.replica) as connection:
        assert connection.execute("SELECT count(*) FROM chat_messages").fetchone() == (0,)


def test_a_thread_that_is_deleted_while_it_answers_stops_under_atomic_requests(badge: httpx.Client, host: Host) -> None:
    with badge.stream("POST", "/api/chat", json=said("t3", "/hang", "m1")) as answer:
        pieces = answer.iter_bytes()
        next(pieces)
        assert badge.delete("/api/threads/t3/").status_code == 204
        for _ in pieces:
            pass
    status = "SELECT t.status FROM chat_turns t JOIN chat_threads h ON h.id = t.thread_id WHERE h.client_id = 't3'"
    assert host.ask(status) == [("stopped",)]


def test_a_person_logs_in_and_talks_with_the_session(served: Server, host: Host) -> None:
    password = """
from django.contrib.auth import get_user_model
ada = get_user_model()._default_manager.using("default").get(username="ada")
ada.set_password("opensesame-17")
ada.save(using="default")
"""
    host.manage("shell", "-v", "0", "-c", password)
    with psycopg.connect(host.primary) as one, psycopg.connect(host.replica, autocommit=True) as other:
        found = one.execute("SELECT password FROM people_person WHERE username = 'ada'").fetchone()
        other.execute("UPDATE people_person SET password = %s WHERE username = 'ada'", found)
    with httpx.Client(base_url=served.url, follow_redirects=True) as browser:
        page = browser.get("/assistant/")
        assert page.url.path == "/assistant/login/"
        form = {
            "username": "ada",
            "password": "opensesame-17",
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
            "next": "/assistant/",
        }
        home = browser.post("/assistant/login/", data=form, headers={"Referer": served.url})
        assert home.url.path == "/assistant/", home.text
        assert "/assets/chat/" in home.text
        sent = browser.post("/assistant/api/chat", json=said("t4", "/tokens 2", "m1"), headers={"Origin": served.url})
        assert sse.parse(sent.content)[-1].chunk is None
        foreign = {"Origin": "http://elsewhere.example"}
        refused = browser.post("/assistant/api/chat", json=said("t4", "/tokens 2", "m2"), headers=foreign)
        assert refused.status_code == 403
        turns = browser.get("/admin/chat/turn/")
        assert turns.status_code == 200


def test_check_says_which_middleware_the_streams_do_not_pass_through(host: Host) -> None:
    told = host.manage("shell", "-v", "0", "-c", TOLD_BY_CHECK)
    assert "chat.I001" in told
    assert "assistant.gateway.StampMiddleware" in told
    assert "LocaleMiddleware" not in told


def test_the_host_kills_its_own_server_at_a_commit_and_another_ends_what_it_left(host: Host, served: Server) -> None:
    doomed = host.server("append:after#2:kill")
    with running(doomed), doomed.client(host.manage("create_token", "ben").strip()) as ben:
        reader = Reader(ben, "POST", "/assistant/api/chat", json=said("k1", "/tokens 200 10", "m1"))
        assert doomed.wait(30) == -signal.SIGKILL
    assert eventually(lambda: not host.ask("SELECT FROM chat_turns WHERE finished_at IS NULL"), 45)
    (turn,) = assert_database_is_sound(host.ask, "h.client_id = 'k1'", prefixes=True)
    assert turn.status == "interrupted"
    assert turn.text.startswith("w1 ")
    assert_shown_is_stored({"k1": turn}, {"k1": reader})


def test_the_example_of_the_documentation_is_run_by_the_host_as_it_stands_there(host: Host) -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    conftest, example = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    tests = host.folder / "tests"
    tests.mkdir()
    (tests / "conftest.py").write_text(conftest)
    (tests / "test_example.py").write_text(example)
    assert "1 passed" in host.run("pytest", "-q", "-p", "no:cacheprovider", "tests")
