"""Figures of several processes, and a server that has no package to tell them with."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chat.testing.client import said
from chat.testing.readers import Reader
from chat.testing.servers import Server, eventually, running
from tests.acceptance.database import Database

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def staffed(database: Database) -> Database:
    database.ask("UPDATE auth_user SET is_staff = true RETURNING id")
    return database


def figure(server: Server, token: str, name: str) -> float:
    with server.client(token) as client:
        answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


def test_processes_of_one_machine_count_together_and_the_dead_leave_no_readers(
    staffed: Database, tmp_path: Path
) -> None:
    first, second = (staffed.server(PROMETHEUS_MULTIPROC_DIR=tmp_path) for _ in range(2))
    with running(first, second):
        for number, server in enumerate((first, second, second)):
            with server.client(staffed.token) as client:
                client.post("/api/chat", json=said(f"t{number}", "/tokens 2 0"))
        with first.client(staffed.token) as client:
            reader = Reader(client, "POST", "/api/chat", json=said("hangs", "/hang"))
            reader.until(b"Hanging")
            for server in (first, second):
                assert figure(server, staffed.token, "chat_turns_ended_total") == 3
                assert figure(server, staffed.token, "chat_readers") == 1
            first.kill()
        assert figure(second, staffed.token, "chat_readers") == 0
        assert figure(second, staffed.token, "chat_turns_ended_total") == 3
        assert figure(second, staffed.token, "chat_turns") == 1, "it is in the database, whoever is asked"


def test_a_server_without_the_packages_starts_and_answers_and_has_no_figures(staffed: Database, tmp_path: Path) -> None:
    for package in ("prometheus_client", "opentelemetry"):
        (tmp_path / f"{package}.py").write_text("raise ImportError('not installed')\n")
    server = staffed.server(PYTHONPATH=tmp_path)
    with running(server), server.client(staffed.token) as client:
        assert b"[DONE]" in client.post("/api/chat", json=said("t1", "/tokens 2 0")).content
        answer = client.get("/metrics")
        assert answer.status_code == 404, answer.text
        assert eventually(lambda: staffed.live() == 0)
