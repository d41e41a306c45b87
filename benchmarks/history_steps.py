"""Each way to fill the mirror or to compare it, measured on the stage's database, from the same state every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

import psycopg

from benchmarks.processes import used
from benchmarks.stage import PRODUCTION, Stage
from tests.acceptance.server import ROOT
from tests.copilot.history_data import Shape, fill

# One statement, as somebody would write it who has good data only. Same table, same indexes, same foreign key.
RAW_TABLE = """
CREATE TABLE raw (LIKE copilot_chat_messages INCLUDING ALL);
ALTER TABLE raw ADD FOREIGN KEY (chat_id) REFERENCES copilot_chats (id) ON DELETE CASCADE
"""
RAW_INSERT = """
INSERT INTO raw (chat_id, message_id, seq, role, content, model, created_at)
SELECT c.id, {id}, e.place - 1, {role}, e.value, c.model, {time}
  FROM copilot_chats c CROSS JOIN LATERAL jsonb_array_elements(c.messages) WITH ORDINALITY e (value, place)
ON CONFLICT (chat_id, message_id) DO NOTHING
"""
GOOD = {"id": "e.value ->> 'id'", "role": "e.value ->> 'role'", "time": "(e.value ->> 'timestamp')::timestamptz"}
# The least that lets it pass over bad ones.
BAD = {
    "id": "coalesce(e.value ->> 'id', e.place::text)",
    "role": "coalesce(e.value ->> 'role', '')",
    "time": "c.created_at",
}


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds, bytes of WAL, CPU seconds of PostgreSQL; bytes of the client's memory at its highest, and how long it
    held locks, where there is a client; cores that others used meanwhile.
    """

    seconds: float
    wal: float
    cpu: float
    others: float
    memory: int = 0
    locks: dict[str, float] = field(default_factory=dict)

    def line(self) -> str:
        words = [f"{self.seconds:.2f} s", f"WAL {self.wal / 1e6:,.1f} MB", f"CPU {self.cpu:.1f} s"]
        words.append(f"others {self.others:.2f} cores")
        if self.memory:
            words.append(f"client {self.memory / 1e6:.0f} MB")
        if self.locks.get("transactions"):
            words.append(f"locks {self.locks['p99_ms']} ms at p99, {self.locks['max_ms']} at most")
        return ", ".join(words)


class History:
    """The database of an older product. Nothing comes up by itself: no autovacuum, no checkpoint but those in front of
    each measurement.
    """

    def __init__(self, stage: Stage, wanted: Shape) -> None:
        self.stage = stage
        self.connection = psycopg.connect(stage.dsn, autocommit=True)
        for setting in ("autovacuum = off", "max_wal_size = '8GB'", "checkpoint_timeout = '1h'"):
            self.connection.execute(f"ALTER SYSTEM SET {setting}")
        self.connection.execute("SELECT pg_reload_conf()")
        self.connection.execute(RAW_TABLE)
        self.user = int(self._one("SELECT id FROM auth_user LIMIT 1"))
        with psycopg.connect(stage.dsn) as filling:
            self.size = fill(filling, self.user, wanted)
        self.connection.execute("VACUUM ANALYZE copilot_chats")
        self.chats, self.messages = wanted.chats, wanted.messages
        self._raw = RAW_INSERT.format(**(BAD if wanted.bad else GOOD))

    def raw_insert(self) -> Took:
        self.connection.execute("TRUNCATE raw, copilot_chat_messages")
        took = self._measured(lambda: (self.connection.execute(self._raw), None)[1])
        self.connection.execute("TRUNCATE raw")
        return took

    def backfill(self) -> Took:
        """What the migration does."""
        statement = import_module("chat.migrations.0010_copilot_backfill").BACKFILL
        self.connection.execute("TRUNCATE copilot_chat_messages")
        return self._measured(lambda: (self.connection.execute(statement), None)[1])

    def first_reconcile(self) -> Took:
        self.connection.execute("TRUNCATE copilot_chat_messages")
        took = self._measured(lambda: self._command())
        self.connection.execute("VACUUM ANALYZE copilot_chat_messages")  # as autovacuum does soon
        return took

    def reconcile_again(self) -> Took:
        return self._measured(lambda: self._command())

    def check(self) -> Took:
        return self._measured(lambda: self._command("--check"))

    def _command(self, *options: str) -> tuple[float, int, float, dict[str, float]]:
        """The command in a process of its own: its own seconds (without the start of Python), its memory, its CPU
        seconds, how long it held locks. Raises RuntimeError where anything is left to do.
        """
        environment = {
            **os.environ,
            **PRODUCTION,
            "DATABASE_URL": self.stage.dsn,
            "DJANGO_SETTINGS_MODULE": "chatproject.settings",
        }
        with tempfile.TemporaryFile() as told:
            command = [sys.executable, "manage.py", "reconcile_messages", "--json", *options]
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=told, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            told.seek(0)
            document = json.load(told)
        if process.returncode or not document["is_clean"] or document["messages"] != self.messages:
            raise RuntimeError(f"The command did not do its work: {document}")
        return (
            document["seconds"],
            usage.ru_maxrss * 1024,
            usage.ru_utime + usage.ru_stime,
            document["locks"],
        )

    def _measured(self, work: Callable[[], tuple[float, int, float, dict[str, float]] | None]) -> Took:
        self.connection.execute("CHECKPOINT")
        wal, before, begun = self._wal(), used(os.getpid(), self.stage.postgres), time.monotonic()
        told = work()
        took, after = time.monotonic() - begun, used(os.getpid(), self.stage.postgres)
        seconds, memory, client, locks = told or (took, 0, 0.0, {})
        postgres = after.postgres - before.postgres
        ours = postgres + client + (after.server - before.server if told is None else 0.0)
        others = max(0.0, after.machine - before.machine - ours) / took
        return Took(seconds, self._wal() - wal, postgres, others, memory, locks)

    def _wal(self) -> float:
        return float(self._one("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    def _one(self, statement: str) -> str:
        found = self.connection.execute(statement).fetchone()
        assert found is not None
        return str(found[0])
