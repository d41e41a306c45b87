"""Runs tests against changed code, each time in a process of its own, which is forked from this one and imports only
what is ours anew: a second instead of five. The change is in the memory of that process, and in no file.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest

from chatproject import embedded_postgres
from tests.proof.mutators import ROOT, Mutant

# What is changed, and what imports it.
OURS = ("chat", "chatproject", "tests")
# What costs time to import and knows nothing of ours; beside pytest's plugins.
HEAVY = ["channels.routing", "django.contrib.admin.sites", "django.core.handlers.asgi", "django.test", "pydantic"]
HEAVY += ["psycopg_pool", "tenacity", "drf_spectacular.utils", "uvicorn.main", "whitenoise.middleware", "markdown_it"]
PREPARED = "mutants_prepared"


@dataclass(frozen=True)
class Run:
    """Tests to run, in this order: up to the first that fails with a mutant, all of them without one."""

    tests: tuple[str, ...]
    limit: float  # seconds after which they hang
    mutant: Mutant | None = None
    without: tuple[str, ...] = ()  # tests among them that are not to run


@dataclass(frozen=True)
class Ran:
    """What came of it: whether all tests passed, what failed, and how many seconds it took."""

    passed: bool
    failed: list[str]
    seconds: float


def prepare() -> None:
    """Load what all runs need, and start the server whose databases they use. The first to need one makes it."""
    from tests.postgres import PLACE, UNSAFE

    url = os.environ.get("DATABASE_URL") or embedded_postgres.start(PLACE, options=UNSAFE)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{PREPARED}"')
    for plugin in entry_points(group="pytest11"):
        plugin.load()
    for name in HEAVY:
        importlib.import_module(name)
    assert "chat" not in sys.modules, "what it registers would be found by the one that is changed"
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    gc.freeze()


def run_all(runs: Sequence[Run], at_once: int, folder: Path) -> Iterator[tuple[Run, Ran]]:
    """Run them, so many at a time; each as it comes to its end."""
    waiting, free = list(reversed(runs)), list(range(at_once))
    going: dict[int, tuple[Run, int, float]] = {}
    try:
        while waiting or going:
            while waiting and free:
                run, slot = waiting.pop(), free.pop()
                pid = forked(lambda run=run, slot=slot: tried(run, slot), folder / f"{slot}.log")
                going[pid] = run, slot, time.monotonic()
            time.sleep(0.02)
            for pid, (run, slot, begun) in list(going.items()):
                gone, status = os.waitpid(pid, os.WNOHANG)
                seconds = time.monotonic() - begun
                if not gone and seconds < run.limit:
                    continue
                end(pid, waited=bool(gone))
                del going[pid]
                free.append(slot)
                failed = failures((folder / f"{slot}.log").read_text()) if gone else ["they hang"]
                yield run, Ran(passed=bool(gone) and status == 0, failed=failed, seconds=seconds)
    finally:
        for pid in going:
            end(pid, waited=False)


def forked(work: Callable[[], int], log: Path) -> int:
    """The pid of a process, and of a group of processes, that does this."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        os.setsid()
        for number, path in ((0, os.devnull), (1, log)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | (os.O_TRUNC if number else 0)), number)
        os.dup2(1, 2)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def end(pid: int, *, waited: bool) -> None:
    """See to it that nothing is left of a process and of those that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if not waited:
        os.waitpid(pid, 0)


def failures(told: str) -> list[str]:
    """The tests that failed, as pytest tells them; where it came to no test, its last words."""
    lines = told.splitlines() or ["nothing was told"]
    return re.findall(r"^(?:FAILED|ERROR) (\S+)", told, re.MULTILINE) or lines[-1:]


def tried(run: Run, slot: int) -> int:
    """In the forked process: pytest's exit code."""
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    if run.mutant:
        sys.meta_path.insert(0, Mutated(run.mutant))
    from hypothesis import HealthCheck, Phase, settings

    # The same examples each time, which fail as they are, on a machine as slow as it likes.
    settings.register_profile(
        "mutants",
        derandomize=True,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")
    options = [
        *(["-x"] if run.mutant else []),
        *(f"--deselect={test}" for test in run.without),
        "-q",
        "--tb=short",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-m",
        "not alone",
    ]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what was loaded before
    return int(pytest.main([*options, *run.tests], plugins=[Prepared(f"mutants_{slot}")]))


class Mutated(MetaPathFinder, SourceLoader):
    """Imports one module from its changed source."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = mutant.path.removesuffix(".py").replace("/", ".")
        self._path, self._source = str(ROOT / mutant.path), mutant.source.encode()

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        return spec_from_file_location(fullname, self._path, loader=self) if fullname == self._name else None

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str) -> bytes:
        return self._source


class Prepared:
    """A pytest plugin: the tests' database is a copy of one that was migrated before. That costs a fifth of a second,
    and what a mutant leaves in it is nobody's.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def pytest_configure(self, config: pytest.Config) -> None:
        @pytest.fixture(scope="session")
        def django_db_setup(
            django_test_environment: None, django_db_modify_db_settings: None, django_db_blocker: Any
        ) -> None:
            with django_db_blocker.unblock():
                copy_database(self.name)

        module = ModuleType("prepared")
        module.django_db_setup = django_db_setup  # type: ignore[attr-defined]
        config.pluginmanager.register(module)  # behind pytest-django, whose fixture it replaces


def copy_database(name: str) -> None:
    """Connect the tests to a copy of the prepared database; the first that needs one prepares it."""
    from django.db import connection

    with connection._nodb_cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(1)")
        cursor.execute("SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)", [PREPARED])
        if not cursor.fetchone()[0]:
            connection.settings_dict["TEST"]["NAME"] = PREPARED
            connection.creation.create_test_db(verbosity=0)
            connection.close()
            connection.close_pool()
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{PREPARED}"')
    connection.close()
    connection.settings_dict["NAME"] = name
