"""What the page offers, by what the settings say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser
from django.test import Client as Browser

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(user: AbstractUser) -> Browser:
    browser = Browser()
    browser.force_login(user)
    return browser


@pytest.mark.parametrize("chosen", [{}, {"CHAT_AGENT": "chat.agents.demo.agent"}])
def test_the_demo_agent_s_commands_are_suggested_where_it_answers(
    browser: Browser, settings: Any, chosen: dict[str, str]
) -> None:
    for name, value in chosen.items():
        setattr(settings, name, value)
    assert b'data-suggestion="/tokens 50"' in browser.get("/").content


@pytest.mark.parametrize(
    "chosen", [{"CHAT_MODEL": "test"}, {"CHAT_PYDANTIC_AGENT": "tests.agents.robots.Careful"}, {"CHAT_AGENT": "a.b"}]
)
def test_no_other_agent_is_said_to_know_them(browser: Browser, settings: Any, chosen: dict[str, str]) -> None:
    for name, value in chosen.items():
        setattr(settings, name, value)
    assert b"data-suggestion" not in browser.get("/").content


def test_the_days_that_are_usual_for_a_link_are_among_those_that_may_be_chosen(browser: Browser, settings: Any) -> None:
    settings.CHAT_SHARE_MOST_DAYS = 7  # less than what is usual where nothing is set
    page = browser.get("/").content.decode()
    assert re.findall(r'<option value="(\d*)"( selected)?>', page) == [("1", ""), ("7", " selected")]
