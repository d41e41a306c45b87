"""``manage.py check`` says what would go wrong later."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.core.checks import Tags, run_checks
from django.db import connection

from chat.store.jobs import APPLICATION


def warnings() -> list[str]:
    return [message.id or "" for message in run_checks(tags=["chat"], databases=[])]


def test_the_demo_project_gives_no_cause_for_a_warning() -> None:
    assert warnings() == []


def test_a_server_without_back_pressure_is_warned_of(settings: Any) -> None:
    settings.SERVER = "daphne"
    assert warnings() == ["chat.W002"]


def test_times_without_a_zone_are_an_error(settings: Any) -> None:
    settings.USE_TZ = False
    assert warnings() == ["chat.E006"]


def test_a_database_that_is_not_postgresql_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "mysql")
    assert warnings() == ["chat.E002"]


@pytest.mark.django_db
def test_a_postgresql_that_is_too_old_is_an_error_before_anything_is_migrated(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*databases: str) -> list[str]:
        return [problem.id or "" for problem in run_checks(tags=[Tags.database], databases=databases)]

    assert told("default") == []
    monkeypatch.setattr(connection, "pg_version", 140_019)
    assert told("default") == ["chat.E002"]
    assert told() == [], "only where the database is asked to be looked at"


@pytest.mark.parametrize("pool", [{"min_size": 1, "max_size": 1}, {"min_size": 1}])
def test_a_pool_of_one_connection_is_an_error(monkeypatch: pytest.MonkeyPatch, pool: dict[str, int]) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "pool", pool)
    assert warnings() == ["chat.E005"]


def test_a_middleware_that_streams_do_not_pass_through_is_named(settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "people.middleware.Badge"]
    (told,) = run_checks(tags=["chat"], databases=[])
    assert told.id == "chat.I001"
    assert "through people.middleware.Badge." in told.msg


def test_a_runner_that_there_is_none_of_is_an_error(settings: Any) -> None:
    settings.CHAT_RUNNER = "elsewhere"
    assert warnings() == ["chat.E030"]


def test_workers_without_procrastinate_are_an_error(settings: Any) -> None:
    settings.CHAT_RUNNER = "worker"
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != APPLICATION]
    assert warnings() == ["chat.E031"]


@pytest.mark.in_process  # else the tables are there
@pytest.mark.django_db
def test_workers_without_procrastinate_s_tables_are_told_of_and_migrate_goes_on(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHAT_RUNNER = "worker"
    # Really installed, it would stay in the admin's site, for all tests that come after this one.
    monkeypatch.setattr(apps, "is_installed", lambda name: name == APPLICATION)
    assert warnings() == []
    (problem,) = run_checks(tags=["chat"], databases=["default"])
    assert (problem.id, problem.is_serious()) == ("chat.W031", False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STALL_SECONDS", 0),  # no turn without a bound: each would fail at once
        ("LEASE_SECONDS", 0.0),
        ("DB_THREADS", 0),
        ("DRAIN_SECONDS", -1),
        ("LEASE_SECONDS", "30"),
        ("KEEP_THREADS_DAYS", float("inf")),
        ("KEEP_THREADS_DAYS", float("nan")),
        ("MAX_LIVE_TURNS", True),
        ("QUOTA_TOKENS_A_DAY", 1e6),
    ],
)
def test_a_number_that_cannot_be_is_named(settings: Any, name: str, value: Any) -> None:
    setattr(settings, f"CHAT_{name}", value)
    (told,) = run_checks(tags=["chat"], databases=[])
    assert (told.id, told.msg.split()[0]) == ("chat.E020", f"CHAT_{name}")


@pytest.mark.parametrize(("name", "value"), [("DRAIN_SECONDS", 0), ("KEEP_THREADS_DAYS", 0.5), ("LEASE_SECONDS", 30)])
def test_a_number_that_can_be_is_not(settings: Any, name: str, value: Any) -> None:
    setattr(settings, f"CHAT_{name}", value)
    assert warnings() == []


def test_a_misspelt_setting_is_warned_of(settings: Any) -> None:
    settings.CHAT_AGNET = "chat.agents.demo.agent"
    assert warnings() == ["chat.W001"]
