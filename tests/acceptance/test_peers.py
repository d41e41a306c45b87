"""The page that sets this project beside others. The others are not installed here: ``make bench-peers`` does that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.client import Span
from benchmarks.history_steps import Took
from benchmarks.peers import page
from benchmarks.peers.findings import QUICK, Findings, Load
from benchmarks.peers.history import Backfill
from tests.acceptance.server import ROOT


@pytest.mark.alone
@pytest.mark.in_process  # the page compares servers that answer by themselves
@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the database's processes are looked for in /proc")
def test_the_comparison_runs_with_ours_and_the_bare_view_and_tells_what_it_saw(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.peers", "--quick", "--peers", "ours,bare", "--no-history"]
    done = subprocess.run([*command, "--docs", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "peers.md").read_text()
    assert written in done.stdout
    for picture in (tmp_path / "peers").iterdir():
        ElementTree.parse(picture)
    ours = [line for line in written.splitlines() if line.startswith("| this project |")]
    reader, killed, doubled = ours
    assert f"{QUICK.answer} of {QUICK.answer} tokens, from the first on" in reader
    assert "each once, none missing; together what is stored" in reader
    assert "100% of what was shown | turn interrupted, 1 usage row" in killed
    assert doubled.count("run once; 1 question, 1 answer; all were shown the same answer") == 3
    bare = [line for line in written.splitlines() if line.startswith("| bare Django view |")]
    assert "nothing is ever stored" in bare[1]
    assert "run 3 times; different answers were shown" in bare[2]
    for what in ("a reload, and a reader that comes back", "a message sent twice is run once", "all that was shown"):
        assert f"{what}: nobody." in written


def test_the_page_names_every_figure_in_which_another_is_ahead(tmp_path: Path) -> None:
    ours, other = (
        _findings("ours", delay=8.0, server=1.0, memory=10),
        _findings("other", delay=4.0, server=2.0, memory=10),
    )
    written = page.write(tmp_path, page.Run(QUICK, ["--quick"], 60), [ours, other], [])
    losses = written.partition("## Where this project loses")[2].partition("\n## ")[0]
    assert "5 turns, p50: other 4.0 ms; this project 8.0 ms." in losses
    assert "10 turns, p99: other 4.0 ms; this project 8.0 ms." in losses
    assert "tokens per CPU second" not in losses  # twice as many are ours
    assert "memory of a live turn" not in losses  # the same is no loss


def test_a_flood_of_late_tokens_is_not_in_time_and_who_told_more_in_time_is_ahead(tmp_path: Path) -> None:
    # Half as many again as were offered.
    ours = _findings("ours", delay=5000.0, server=1.0, memory=10, told=1500)
    other = _findings("other", delay=5.0, server=1.0, memory=10, told=1500)
    assert (ours.in_time(QUICK.light), other.in_time(QUICK.light)) == (0, 100)
    written = page.write(tmp_path, page.Run(QUICK, ["--quick"], 60), [ours, other], [])
    losses = written.partition("## Where this project loses")[2].partition("\n## ")[0]
    assert "offered tokens that came within a second, 5 turns: other 100 %; this project 0.0 %." in losses


def test_a_slower_or_larger_backfill_is_a_loss_against_every_other_way(tmp_path: Path) -> None:
    backfills = [
        Backfill(title, Took(seconds, wal, cpu=1, others=0), 100)
        for title, seconds, wal in [("raw", 2.0, 10), ("ours: backfill", 4.0, 10), ("a loop", 3.0, 5)]
    ]
    found = _findings("ours", delay=5.0, server=1.0, memory=10)
    written = page.write(tmp_path, page.Run(QUICK, ["--quick"], 60), [found], backfills)
    losses = written.partition("## Where this project loses")[2].partition("\n## ")[0]
    assert "ours: backfill: 2.0 times as long as raw" in losses
    assert "ours: backfill: 1.3 times as long as a loop" in losses
    assert "ours: backfill: 2.0 times the WAL of a loop" in losses
    assert "the WAL of raw" not in losses


def _findings(title: str, *, delay: float, server: float, memory: float, told: int = 1) -> Findings:
    span = Span(
        tokens=1000,
        seconds=1.0,
        server=server,
        postgres=0.0,
        client=0.1,
        others=0.0,
        whole_tokens=2000,
        whole_server=2 * server,
        delays=[delay] * told,
        complete=True,
        steady=True,
    )
    found = Findings(title, "by hand", "nothing", memory=memory * 1024)
    for turns in (QUICK.light, QUICK.heavy):
        found.loads[turns].append(Load(1000.0, span, 0.0))
    found.kill = {"shown": "", "stored": "", "state": "", "reader": ""}
    found.double = {"retried": ""}
    return found
