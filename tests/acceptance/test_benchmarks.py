"""The benchmarks run. What they find is not a test's to judge: it takes a quiet machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.server import ROOT

EXPECTED = [
    "uvicorn, sync: 10 turns, tokens per CPU second",
    "10 turns: delay p50",
    "10 turns: delay p99",
    "one turn alone: delay p50",
    "one turn alone: delay p99",
    "time to first chunk, idle, p50",
    "statements to begin a turn",
    "statements to finish a turn",
    "5 readers of one turn, 500 tokens/s: reads of the log",
    "5 readers of one turn, 500 tokens/s: chunks per CPU second",
    "20 readers open and idle: database connections held",
    "20 readers open and idle: resident memory each",
]


@pytest.mark.in_process  # benchmarks/workers.py is theirs
@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the database's processes are looked for in /proc")
def test_the_benchmark_of_streams_prints_every_row(tmp_path: Path) -> None:
    found = tmp_path / "rows.json"
    command = [sys.executable, "-m", "benchmarks.streams", "--quick", "--servers", "uvicorn", "--modes", "sync"]
    done = subprocess.run([*command, "--json", str(found)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["what"]: row for row in json.loads(found.read_text())["rows"]}
    assert list(rows) == EXPECTED
    assert all(row["what"] in done.stdout for row in rows.values())
    # What does not depend on how busy the machine is.
    assert "TOKENS" not in done.stdout
    for what in EXPECTED[6:9]:
        assert rows[what]["reached"], rows[what]


HISTORY = [
    "backfill in the migration",
    "first reconcile",
    "reconcile again, nothing to do",
    "--check, nothing to do",
    "memory of the command, at most",
    "WAL of first reconcile, of the raw insert's",
    "WAL of reconcile again, of the raw insert's",
    "WAL of --check, of the raw insert's",
    "first reconcile: locks held, p99",
    "last 50 of a thread of 10,000 messages, as JSON",
    "last 50 of a thread of 100 messages, as JSON",
    "last 50 of a copilot chat of 10,000 messages, as JSON",
    "last 50 of a copilot chat of 100 messages, as JSON",
    "append to the mirror of a chat of 10,000 messages, against 100",
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("bad", ["0", "0.05"])
def test_the_benchmark_of_history_prints_every_row(tmp_path: Path, bad: str) -> None:
    """It also says when the command has not mirrored everything."""
    found = tmp_path / "rows.json"
    command = [sys.executable, "-m", "benchmarks.history", "--quick", "--bad", bad, "--json", str(found)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["what"]: row for row in json.loads(found.read_text())["rows"]}
    assert list(rows) == HISTORY
    assert all(what in done.stdout for what in rows)
    assert rows["memory of the command, at most"]["reached"]
