"""Usage by day and model in the admin: a chart without a script, a table and CSV."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.test import AsyncClient, Client
from django.urls import reverse

from chat.admin.usage_chart import SERIES, draw, nice_step
from chat.models import TokenUsage
from chat.protocol.usage import COUNTS
from tests.admin.pages import answered, html, list_url, words
from tests.admin.test_content_security_policy import Inline

pytestmark = pytest.mark.django_db
URL = "admin:chat_tokenusage_by_day"


def used(model: str, tokens: int, *, days_ago: int = 0, cost: int = 0) -> None:
    figures = dict.fromkeys(COUNTS, 0) | {"total_tokens": tokens, "cost_micros": cost, "prompt_tokens": tokens}
    turn = answered()
    TokenUsage.objects.filter(turn=turn).update(
        model_breakdown={model: figures}, created_at=datetime.now(UTC) - timedelta(days=days_ago)
    )


def titles(page: str) -> list[str]:
    return re.findall(r"<title>([^<]*)</title></rect>", page)


def today(days_ago: int = 0) -> str:
    return str(datetime.now(UTC).date() - timedelta(days=days_ago))


def test_the_list_leads_to_the_chart_and_the_chart_tells_every_day_and_model(operator: Client) -> None:
    used("big", 1200, cost=2_500_000)
    used("big", 300, days_ago=1)
    used("small", 50, days_ago=1)
    used("old", 7, days_ago=40)
    assert reverse(URL) in html(operator, list_url(TokenUsage))
    page = html(operator, reverse(URL))
    assert titles(page) == [
        f"{today(1)}: big, 300 tokens",
        f"{today(1)}: small, 50 tokens",
        f"{today()}: big, 1,200 tokens",
    ]
    assert "big 2 1,500 0 0 0 1,500 $2.50 small 1 50 0 0 0 50 $0.00" in words(page)
    assert "old, 7 tokens" in titles(html(operator, reverse(URL), days=90))[0]
    assert titles(html(operator, reverse(URL), of="cost")) == [f"{today()}: big, $2.50"]


@pytest.mark.parametrize("query", [{"days": "31"}, {"days": "x"}, {"of": "x"}, {"days": "-1", "of": ""}])
def test_odd_questions_are_answered_as_the_usual_one(operator: Client, query: dict[str, str]) -> None:
    used("big", 10)
    assert titles(html(operator, reverse(URL), **query)) == [f"{today()}: big, 10 tokens"]


def test_a_time_without_turns_says_so(operator: Client) -> None:
    assert "No turn ended" in words(html(operator, reverse(URL)))


def test_names_are_text_and_the_page_holds_nothing_that_the_policy_refuses(operator: Client) -> None:
    used("<script>alert(1)</script>\u202e", 10)
    used("", 5)
    page = html(operator, reverse(URL))
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert f"{today()}: Model not known, 5 tokens" in [title.replace("&lt;", "<") for title in titles(page)]
    parser = Inline()
    parser.feed(page)
    assert parser.found == []


def test_only_who_may_view_usage_sees_it(staff: Callable[..., Client]) -> None:
    for name in (URL, f"{URL}_csv"):
        assert staff("view_thread").get(reverse(name)).status_code == 403
        assert Client(headers={"host": "127.0.0.1"}).get(reverse(name)).status_code == 302
    used("big", 10)
    assert titles(html(staff("view_tokenusage"), reverse(URL))) == [f"{today()}: big, 10 tokens"]


@pytest.mark.usefixtures("drained")
@pytest.mark.django_db(transaction=True)
async def test_the_same_figures_come_as_csv() -> None:
    await sync_to_async(used)("=big", 1200, cost=2_500_000)
    user = await sync_to_async(get_user_model().objects.create_superuser)("boss", password="x")
    browser = AsyncClient(headers={"host": "127.0.0.1"})
    await browser.aforce_login(user)
    answer = await browser.get(reverse(f"{URL}_csv"), {"days": "7"})
    assert answer["Content-Disposition"] == f'attachment; filename="usage-{today(6)}-{today()}.csv"'
    lines = b"".join([piece async for piece in answer]).decode().splitlines()  # type: ignore[union-attr]
    assert lines[0].startswith("day,model,turns,")
    assert lines[1:] == [f"{today()},'=big,1,1200,0,1200,0,0,2500000,2.500000,0,0"]


DAYS = [date(2026, 11, 1) + timedelta(days=number) for number in range(30)]


@pytest.mark.parametrize("most", [1, 4, 999, 2**63 - 1])
def test_bars_stand_on_each_other_inside_the_picture(most: int) -> None:
    totals = [
        {"day": str(day), "model": f"m{number}", "total_tokens": most // (number + 1)}
        for day in DAYS
        for number in range(SERIES + 3)
    ]
    chart = draw(DAYS, totals, "total_tokens")
    assert chart.series == [*(f"m{number}" for number in range(SERIES)), "Other models"]
    tops = [float(bar.y) for bar in chart.bars]
    assert min(tops) >= 0
    assert all(float(bar.x) >= 0 and float(bar.x) + float(bar.width) <= float(chart.width) for bar in chart.bars)
    floors = {round(float(bar.y) + float(bar.height)) for bar in chart.bars if bar.series == "0"}
    assert floors == {int(chart.floor)}
    assert 2 <= len(chart.steps) <= 7
    assert len({mark.text for mark in chart.steps}) == len(chart.steps)
    assert [mark.text for mark in chart.days][-1] == "Nov 30"


def test_lines_are_drawn_at_round_amounts() -> None:
    assert [nice_step(most) for most in (0, 1, 5, 6, 23, 999, 1_200_000)] == [1, 1, 1, 2, 5, 200, 500_000]
