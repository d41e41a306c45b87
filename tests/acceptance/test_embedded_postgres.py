"""The embedded PostgreSQL under everything that can happen to its owners, its guardian and itself.

Owners are real processes that call ``start()`` and wait; the tests kill what there is to kill and look
at what is left. Run by root, the same is tried as an ordinary user too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from chatproject import embedded_postgres
from tests.acceptance.postgres_owners import (
    Owner,
    answers,
    guardians,
    is_used,
    kill_all,
    postmaster,
    query,
    shared_folder,
    until,
    until_gone,
)

ROOT = os.geteuid() == 0
pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="what runs is read from /proc")
as_root = pytest.mark.skipif(not ROOT, reason="only root can try it")


@pytest.fixture
def hire() -> Iterator[Callable[..., Owner]]:
    """Makes owners that wait before ``start()``, and ends them with the test."""
    with ExitStack() as stack:

        def make(root: Path, *arguments: Any, **environment: str) -> Owner:
            owner = Owner(root, *arguments, **environment)
            stack.callback(owner.close)
            return owner

        yield make


@pytest.fixture
def own(hire: Callable[..., Owner]) -> Callable[..., tuple[Owner, str]]:
    """An owner and the URL of its server, which runs."""

    def make(root: Path, *arguments: Any, **environment: str) -> tuple[Owner, str]:
        owner = hire(root, *arguments, **environment)
        owner.begin()
        return owner, owner.read()

    return make


folder = pytest.fixture(shared_folder)


@pytest.fixture
def root(folder: Path) -> Path:
    return folder / "data" / "postgres"


@pytest.fixture(params=["us", "nobody"] if ROOT else ["us"])
def who(request: pytest.FixtureRequest, folder: Path) -> str:
    """Whose server it is."""
    if request.param == "nobody":
        shutil.chown(folder, "nobody")
    return request.param


# The ordinary life


def test_the_first_start_makes_a_database_and_the_next_finds_its_data(root, own, who) -> None:
    known = embedded_postgres.dsn(root)
    assert not root.parent.exists()  # asking for the URL starts and makes nothing
    owner, dsn = own(root, who)
    if who == "us":
        assert known == dsn
    query(dsn, "create table kept as select 'Ünïcode' as word")
    assert query(dsn, "select upper(word) from kept") == "ÜNÏCODE"
    owner.leave()
    until_gone(root)
    assert "database system is shut down" in (root / "server.log").read_text()

    owner, again = own(root, who)
    assert again == dsn
    assert query(dsn, "select word from kept") == "Ünïcode"
    assert {entry.name for entry in root.iterdir()} == {
        "data", "socket", "server.log", "server.log.old", "users.lock", "guardian.lock", "server.lock"
    }  # fmt: skip


def test_the_server_takes_its_settings_but_nothing_from_the_environment_and_is_private(root, own) -> None:
    before = os.umask(0o077)  # must not shut the server's user out
    try:
        surroundings = {"PGPORT": "1", "PGDATA": "/nowhere", "LC_ALL": "xx_XX", "SECRET_KEY": "s3cret"}
        _, dsn = own(root, **surroundings, options=json.dumps({"fsync": "off", "max_connections": "7"}))
    finally:
        os.umask(before)
    assert query(dsn, "show max_connections") == "7"
    assert query(dsn, "show listen_addresses") == ""
    assert query(dsn, "show data_directory") == str(root / "data")
    assert b"s3cret" not in Path(f"/proc/{postmaster(root)}/environ").read_bytes()
    for private in ("data", "socket"):
        assert (root / private).stat().st_mode & 0o077 == 0


def test_debians_postgresql_does_as_well(root, own) -> None:
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not debian:
        pytest.skip("no PostgreSQL of Debian's")
    _, dsn = own(root, CHAT_POSTGRES_BIN=str(debian[-1]))
    assert query(dsn, "select upper('é')") == "É"


# Kills


def test_a_killed_postmaster_comes_back_by_itself_and_start_waits_for_it(root, hire, own) -> None:
    owner = hire(root)
    owner.begin()
    until((root / "data/postmaster.pid").exists, "the guardian has begun a server")
    (guardian,) = guardians(root)
    os.kill(guardian, signal.SIGSTOP)  # it will not have seen the first server ready before that is killed
    dsn = owner.read()
    query(dsn, "create table kept as select 1 as one")
    with psycopg.connect(dsn) as connection:
        connection.execute("select 1")
        killed = postmaster(root)
        os.kill(killed, signal.SIGKILL)
        until(lambda: not answers(dsn), "it is dead")
        os.kill(guardian, signal.SIGCONT)
        until(lambda: answers(dsn), "the guardian starts another")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    assert postmaster(root) != killed
    os.kill(postmaster(root), signal.SIGKILL)
    assert query(own(root)[1], "select one from kept") == 1
    assert len(guardians(root)) == 1


def test_a_killed_owner_leaves_no_server_and_no_obstacle(root, own, who) -> None:
    owner, dsn = own(root, who)
    query(dsn, "create table kept as select 1 as one")
    owner.kill()
    until_gone(root)
    assert query(own(root, who)[1], "select one from kept") == 1


def test_ctrl_c_stops_everything(root, own) -> None:
    owner, _ = own(root)
    os.killpg(owner.process.pid, signal.SIGINT)
    owner.process.wait(10)
    until_gone(root)
    assert "database system is shut down" in (root / "server.log").read_text()


def test_the_next_guardian_takes_over_the_server_of_a_killed_one(root, own) -> None:
    first, dsn = own(root)
    began = query(dsn, "select pg_postmaster_start_time()")
    os.kill(guardians(root).pop(), signal.SIGKILL)
    first.leave()
    second, _ = own(root)
    assert query(dsn, "select pg_postmaster_start_time()") == began
    second.leave()
    until_gone(root)


@pytest.mark.parametrize("now", ["sleep", "true"], ids=["another program", "a zombie"])
def test_everything_killed_and_the_pid_is_there_again(root, own, now) -> None:
    owner, dsn = own(root)
    query(dsn, "create table kept as select 1 as one")
    pid_file, data = root / "data/postmaster.pid", (root / "data").stat()
    lines = pid_file.read_text().splitlines()
    for process in (*guardians(root), postmaster(root), owner.process.pid):
        os.kill(process, signal.SIGKILL)
    until_gone(root)

    as_server = {"user": data.st_uid, "group": data.st_gid, "extra_groups": []} if ROOT else {}
    with subprocess.Popen([now, "600"], **as_server) as other:
        pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        try:
            assert query(own(root)[1], "select one from kept") == 1
            assert other.poll() == (None if now == "sleep" else 0)
        finally:
            other.kill()


def test_an_initdb_killed_half_way_leaves_nothing_that_matters(root, hire, own) -> None:
    owner = hire(root)
    owner.begin()
    until(lambda: list(root.glob("new-*/PG_VERSION")), "initdb is at work")
    owner.kill()
    kill_all(root)
    assert not (root / "data").exists()
    assert list(root.glob("new-*"))

    assert answers(own(root)[1])
    assert not list(root.glob("new-*"))


# Several owners


def test_two_that_start_at_once_share_one_server_until_the_last_leaves(root, hire) -> None:
    owners = [hire(root), hire(root)]
    for owner in owners:  # both have imported everything and wait at this barrier
        owner.begin()
    first, second = (owner.read() for owner in owners)
    assert first == second
    assert len(guardians(root)) == 1
    began = query(first, "select pg_postmaster_start_time()")

    owners[0].leave()
    assert is_used(root)
    assert query(second, "select pg_postmaster_start_time()") == began
    owners[1].leave()
    until_gone(root)


def test_one_that_comes_while_the_server_stops_gets_a_server(root, own, hire) -> None:
    owner, dsn = own(root)
    for _ in range(8):
        following = hire(root)
        owner.kill()
        until(lambda: not answers(dsn), "the server is stopping")
        following.begin()
        assert answers(following.read())
        owner = following


def test_a_program_that_its_owner_becomes_keeps_the_server(root, own) -> None:
    program = "print('I am another', flush=True); import sys; sys.stdin.read()"
    owner, dsn = own(root, "us", (sys.executable, "-c", program))
    assert owner.read() == "I am another"
    assert is_used(root)
    assert answers(dsn)
    owner.leave()
    until_gone(root)


def test_a_child_that_outlives_its_owner_does_not_keep_the_server(root, own) -> None:
    program = "import subprocess as s; print(s.Popen(['sleep', '600']).pid, flush=True)"
    owner, _ = own(root, "us", (sys.executable, "-c", program))
    child = int(owner.read())
    try:
        until_gone(root)
    finally:
        os.kill(child, signal.SIGKILL)


# Places


def test_a_deep_folder_and_odd_names(folder, own) -> None:
    root = folder / ("deep" * 20) / ("dëep" * 20) / "a, 'b' & \"c\"" / "postgres"
    owner, dsn = own(root)
    assert query(dsn, "show data_directory") == str(root / "data")
    sockets = Path(query(dsn, "show unix_socket_directories"))
    assert sockets.stat().st_mode & 0o777 == 0o700
    owner.leave()
    until_gone(root)
    shutil.rmtree(sockets)


@as_root
def test_a_socket_folder_of_somebody_elses_is_not_used(folder, hire) -> None:
    root = folder / ("deep" * 30) / "postgres"
    sockets = Path(psycopg.conninfo.conninfo_to_dict(embedded_postgres.dsn(root))["host"])
    sockets.mkdir()
    try:
        os.chown(sockets, 12345, 12345)
        assert f"{sockets} belongs to somebody else" in hire(root).error()
    finally:
        sockets.rmdir()


@as_root
def test_root_whose_folders_are_closed_to_others(folder, own) -> None:
    """As in a checkout under /root: neither the data nor the binaries are within the server's reach."""
    closed = folder / "home"
    closed.mkdir(mode=0o700)
    installed = embedded_postgres.binaries().parents[1]
    for name in (installed.name, f"{installed.name}.libs"):
        shutil.copytree(installed.with_name(name), closed / "lib" / name)
    binaries = closed / "lib" / installed.name / "pginstall/bin"
    root = closed / "checkout" / "data" / "postgres"
    root.parent.mkdir(parents=True)
    copies = set(embedded_postgres.ELSEWHERE.glob("binaries-*"))
    modes = {parent: parent.stat().st_mode for parent in (*root.parents, *binaries.parents)}

    dsn = embedded_postgres.dsn(root)
    owner, started = own(root, CHAT_POSTGRES_BIN=str(binaries))
    assert started == dsn == embedded_postgres.dsn(root)
    query(dsn, "create table kept as select 1 as one")
    owner.leave()
    until_gone(root.resolve())
    assert query(own(root, CHAT_POSTGRES_BIN=str(binaries))[1], "select one from kept") == 1

    assert modes == {parent: parent.stat().st_mode for parent in modes}
    (copy,) = set(embedded_postgres.ELSEWHERE.glob("binaries-*")) - copies
    shutil.rmtree(copy)  # the running server has read what it needs


@as_root
def test_root_starts_the_server_of_an_ordinary_user_as_that_user(root, own) -> None:
    shutil.chown(root.parents[1], "nobody")
    owner, dsn = own(root, "nobody")
    query(dsn, "create table kept as select 1 as one")
    owner.leave()
    until_gone(root)
    owner, _ = own(root)
    assert query(dsn, "select one from kept") == 1
    owner.leave()
    until_gone(root)
    assert query(own(root, "nobody")[1], "select one from kept") == 1


# What it says when it cannot


def test_it_says_what_to_do_without_postgresql_and_with_data_of_another_version(root, own, hire) -> None:
    assert "CHAT_POSTGRES_BIN=/nowhere. Set DATABASE_URL" in hire(root, CHAT_POSTGRES_BIN="/nowhere").error()
    owner, _ = own(root)
    owner.leave()
    until_gone(root)
    (root / "data/PG_VERSION").write_text("9.6\n")
    binaries = str(embedded_postgres.binaries())
    error = hire(root, CHAT_POSTGRES_BIN=binaries).error()
    assert f"{root / 'data'} is of PostgreSQL 9.6, and {binaries} is PostgreSQL" in error


def test_a_failed_start_shows_the_end_of_the_log_and_leaves_nothing(root, hire) -> None:
    error = hire(root, options=json.dumps({"fsync": "off", "max_connections": "many"})).error()
    assert 'invalid value for parameter "max_connections"' in error
    assert str(root / "server.log") in error
    until_gone(root)
