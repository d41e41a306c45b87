"""As few connections as there can be: a pool of two, and a PgBouncer that gives one for a transaction only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from chat.testing.client import said
from chat.testing.readers import Reader
from chat.testing.servers import eventually, free_port, running
from tests.acceptance.database import Database, Postgres
from tests.acceptance.server import DemoServer
from tests.conftest import needed

pytestmark = [pytest.mark.proof, pytest.mark.timeout(180)]
TURNS = 12

CONFIGURATION = """
[databases]
{name} = host='{host}' port={upstream} dbname={name} user={user} {password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 200
ignore_startup_parameters = options,extra_float_digits
"""


def mixed_load(database: Database, here: DemoServer, there: DemoServer) -> None:
    """Turns on one server, read on the other; one is stopped from there, and a retry joins."""
    with ExitStack() as stack:
        mine, other = (stack.enter_context(server.client(database.token)) for server in (here, there))
        sent = [Reader(mine, "POST", "/api/chat", json=said(f"t{n}", "/tokens 30 10", "m1")) for n in range(TURNS)]
        hung = Reader(mine, "POST", "/api/chat", json=said("hung", "/hang", "m1"))
        hung.until(b"text-delta")
        joined = [Reader(other, "POST", "/api/chat", json=said(f"t{n}", "/tokens 30 10", "m1")) for n in range(TURNS)]
        other.post("/api/chat/hung/stop").raise_for_status()
        streams = [reader.whole() for reader in sent]
        assert [reader.whole() for reader in joined] == streams
        hung.whole()
    turns = database.sound()
    assert {name: turn.status for name, turn in turns.items()} == {
        **{f"t{number}": "completed" for number in range(TURNS)},
        "hung": "stopped",
    }
    assert [turns[f"t{number}"].stream for number in range(TURNS)] == streams


def test_with_a_pool_of_two_connections_nobody_waits_for_himself(postgres: Postgres) -> None:
    """One fewer, and the servers say so when they start: the log's writer would have the only one."""
    database = postgres.database()
    with pytest.raises(RuntimeError, match=r"chat\.E005"):
        database.server(DATABASE_POOL=1).start()
    here, there = (database.server(DATABASE_POOL=2) for _ in range(2))
    with running(here, there):
        mixed_load(database, here, there)


@contextmanager
def pgbouncer(folder: Path, url: str) -> Iterator[str]:
    """A PgBouncer in front of the database of ``url``; the URL behind which it stands."""
    program = needed("pgbouncer", "what works behind it is tried behind it")
    to, port = conninfo_to_dict(url), free_port()
    password = f"password={to['password']}" if to.get("password") else ""
    where = {"name": to["dbname"], "host": to["host"], "upstream": to.get("port", 5432), "user": to["user"]}
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(CONFIGURATION.format(**where, password=password, port=port))
    user = ["-u", Path(str(to["host"])).owner()] if Path("/proc/self").owner() == "root" else []  # it runs as no root
    log = folder / "pgbouncer.log"
    with log.open("w") as told:
        process = subprocess.Popen([program, *user, str(configuration)], stderr=told)
    behind = f"postgresql://{to['user']}@127.0.0.1:{port}/{to['dbname']}"
    try:
        assert eventually(lambda: answers(behind)), log.read_text()
        yield behind
    finally:
        process.terminate()
        process.wait(10)


def answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=1) as connection:
            return connection.execute("SELECT true").fetchone() == (True,)
    except psycopg.OperationalError:
        return False


def test_behind_a_pgbouncer_that_gives_connections_for_transactions_all_is_as_ever(
    postgres: Postgres, reachable_by_all: Path
) -> None:
    database = postgres.database()
    with pgbouncer(reachable_by_all, database.url) as behind:
        settings = {"CHAT_LISTEN_URL": database.url, "CHAT_LEASE_SECONDS": 5}
        here, there = (DemoServer(database.folder, prepared=True, DATABASE_URL=behind, **settings) for _ in range(2))
        with running(here, there):
            mixed_load(database, here, there)
