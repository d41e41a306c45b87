"""Requests made from the schema, good and bad, NUL and all: none gets a 5xx, none that breaks the schema is taken."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from chat.testing.servers import running
from tests.acceptance.database import Database
from tests.scale import LONG, rounds

pytestmark = [pytest.mark.proof, pytest.mark.timeout(3600)]
CHECKS = (
    "not_a_server_error,negative_data_rejection,ignored_auth,use_after_free,"
    "response_schema_conformance,status_code_conformance"
)


def test_whatever_the_schema_lets_one_send_is_answered_as_it_says(database: Database, tmp_path: Path) -> None:
    server = database.server(CHAT_STALL_SECONDS=2)
    with running(server):
        headers = {"authorization": f"Bearer {database.token}"}
        schema = httpx.get(f"{server.url}/api/schema/?format=json", headers=headers, timeout=30)
        assert schema.status_code == 200
        file = tmp_path / "schema.json"
        file.write_bytes(schema.content)
        command = [
            str(Path(sys.executable).parent / "schemathesis"),
            "run",
            str(file),
            *("--url", server.url, "--header", f"Authorization: Bearer {database.token}"),
            *("--checks", CHECKS),
            # What is tried is the answer, not its time: two processes on a busy machine took longer than the usual ten.
            *("--request-timeout", "60"),
            # It would revoke the token that the requests are made with.
            *("--exclude-operation-id", "token_delete"),
            *("--phases", "examples,coverage,fuzzing,stateful" if LONG else "examples,coverage,stateful"),
            *("--max-examples", str(rounds(3, 300))),
            *("--generation-allow-x00", "true", "--generation-codec", "utf-8"),
            *("--suppress-health-check", "all", "--continue-on-failure", "--workers", "2", "--no-color"),
        ]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout[-20_000:]
        made = re.search(r"([\d,]+) generated", ran.stdout)
        assert made, ran.stdout[-3000:]
        assert int(made[1].replace(",", "")) >= rounds(1000, 10_000)
