"""``manage.py serve`` says what it lacks, before it changes anything."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from chat.management.commands.serve import served_application


@pytest.mark.parametrize(
    ("named", "served"),
    [
        ("mysite.asgi.application", "mysite.asgi:application"),
        ("mysite.asgi.outermost", "mysite.asgi:outermost"),
        ("the.application.asgi.application", "the.application.asgi:application"),
    ],
)
def test_servers_are_given_the_application_that_the_settings_name(settings: Any, named: str, served: str) -> None:
    settings.ASGI_APPLICATION = named
    assert served_application() == served


def test_a_project_that_names_no_application_is_told_which_setting_does(settings: Any) -> None:
    del settings.ASGI_APPLICATION  # as startproject leaves it
    with pytest.raises(CommandError, match="ASGI_APPLICATION"):
        call_command("serve", "--migrate")
    settings.ASGI_APPLICATION = "application"
    with pytest.raises(CommandError, match="ASGI_APPLICATION"):
        call_command("serve", "--migrate")


def test_a_server_that_is_not_known_is_named_beside_those_that_are(settings: Any) -> None:
    settings.SERVER = "gunicorn"
    with pytest.raises(CommandError, match=r"'gunicorn'.*daphne, granian, uvicorn"):
        call_command("serve", "--migrate")


@pytest.mark.django_db
@pytest.mark.parametrize(("debug", "place"), [(False, Path("/somewhere")), (True, Path("/somewhere")), (False, None)])
def test_who_serves_without_naming_a_database_is_told_where_all_is_kept(
    settings: Any, monkeypatch: pytest.MonkeyPatch, debug: bool, place: Path | None
) -> None:
    monkeypatch.setattr("os.execv", lambda *command: None)  # the server that takes the process over
    settings.DEBUG, settings.EMBEDDED_POSTGRES = debug, place
    call_command("serve", stdout=(said := StringIO()))
    assert ("all is kept in /somewhere" in said.getvalue()) == (place is not None and not debug)


def test_a_port_that_is_no_number_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "http")
    with pytest.raises(CommandError, match="--port"):
        call_command("serve", "--migrate")
