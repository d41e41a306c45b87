"""``manage.py check`` says what would go wrong later."""

from __future__ import annotations

from typing import Any

from django.core.checks import run_checks


def warnings() -> list[str]:
    return [message.id or "" for message in run_checks(tags=["chat"])]


def test_the_demo_project_gives_no_cause_for_a_warning() -> None:
    assert warnings() == []


def test_a_server_without_back_pressure_is_warned_of(settings: Any) -> None:
    settings.SERVER = "daphne"
    assert warnings() == ["chat.W002"]


def test_a_misspelt_setting_is_warned_of(settings: Any) -> None:
    settings.CHAT_AGNET = "chat.agents.demo.agent"
    assert warnings() == ["chat.W001"]
