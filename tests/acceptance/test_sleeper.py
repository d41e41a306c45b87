"""A process that sleeps past its leases: others end its turns; awake, it writes no row and leaves its provider alone.

The long form is a minute's sleep with the default lease of half a minute.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from chat.testing.client import said
from chat.testing.invariants import rows_of
from chat.testing.readers import Reader
from chat.testing.servers import eventually, running
from tests.acceptance.database import Database
from tests.scale import LONG

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]
LEASE, SLEEP = (30, 60) if LONG else (2, 0)
ASKED = {
    "fast": "/tokens 100000 1",
    "text": "/tokens 100000 20",
    "slow": "/tokens 100000 3000",
    "hung": "/hang",
    "burst": "/tokens 100000 0",
}


def test_a_process_that_slept_past_its_leases_writes_no_row_and_leaves_its_agent(
    database: Database, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    settings = {"CHAT_LEASE_SECONDS": LEASE, "CHAT_LISTEN_CHECK_SECONDS": 60}
    sleeper = database.server(CHAT_AGENT="tests.acceptance.watched_agent.WatchedAgent", DIARY=diary, **settings)
    other = database.server(**settings)
    patience = SLEEP + 60
    with (
        running(sleeper, other),
        sleeper.client(database.token, patience) as here,
        other.client(database.token, patience) as there,
    ):
        readers = {
            name: Reader(here, "POST", "/api/chat", json=said(name, text, turn_id=name)) for name, text in ASKED.items()
        }
        for reader in readers.values():
            reader.until(b'"text-delta"')
        followed = {name: Reader(there, "GET", f"/api/chat/{name}/stream") for name in ASKED}
        for reader in followed.values():
            reader.until(b'"text-delta"')

        begun = time.monotonic()
        sleeper.send(signal.SIGSTOP)
        assert eventually(lambda: not database.live(), LEASE + 15), "nobody recovered the turns"
        seconds = time.monotonic() - begun
        turns = database.sound()
        assert {turn.status for turn in turns.values()} == {"interrupted"}
        for name, reader in followed.items():
            assert reader.whole() == turns[name].stream
        time.sleep(max(0.0, begun + SLEEP - time.monotonic()))
        ended, spoken = database.turns(), diary.read_text()
        before = rows_of(ended, database.ask)
        assert "left" not in spoken, "it slept"

        sleeper.send(signal.SIGCONT)
        awake = time.monotonic()
        left = {f"{name} left" for name in ASKED}
        assert eventually(lambda: left <= set(diary.read_text().splitlines()), LEASE / 3 + 10), diary.read_text()[-500:]
        told = time.monotonic() - awake
        for name, reader in readers.items():
            assert reader.whole() == turns[name].stream, f"{name}: the sleeper's reader is told something else"
        assert (database.turns(), rows_of(ended, database.ask)) == (ended, before)
        # Whatever it still had in mind stands in front of this turn.
        assert here.post("/api/chat", json=said("afterwards", "/tokens 3 0")).status_code == 200
        assert rows_of(ended, database.ask) == before
        assert database.sound()["afterwards"].status == "completed"
    print(f"\nended by another after {seconds:.1f} s, left its agents {told:.1f} s after it woke, wrote nothing")
