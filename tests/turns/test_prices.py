"""What a turn's model calls cost: by the agent, by the settings, by the list, or by nobody."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.core.checks import run_checks

from chat.protocol.usage import LARGEST, UsageMeter
from chat.turns.prices import reported
from tests.acceptance.server import ROOT

OWN = {"input": 2, "output": "8", "cache_read": 0.5}


def call(**figures: Any) -> dict[str, Any]:
    """One call, as ``call_details`` tells it."""
    meter = UsageMeter()
    meter.add(**{"prompt_tokens": 1000, "completion_tokens": 100, **figures})
    (told,) = reported(meter).call_details["calls"]
    priced: dict[str, Any] = told
    return priced


@pytest.mark.parametrize(
    "names",
    [
        {"model": "gpt-4o", "provider": "openai"},
        {"model": "gpt-4o"},
        {"model": "openai:gpt-4o"},
        {"model": "gpt-4o-2024-08-06", "provider": "azure"},
    ],
)
def test_a_model_of_the_list_is_priced_by_it_however_it_is_named(names: dict[str, str]) -> None:
    told = call(**names)
    assert told["priced_by"] == "genai-prices"
    assert told["cost_micros"] == 1000 * 2.5 + 100 * 10
    assert told.items() >= names.items()


def test_what_the_provider_had_in_its_cache_is_cheaper_and_what_it_put_there_is_dearer() -> None:
    model = {"model": "claude-sonnet-4-5", "provider": "anthropic"}
    plain = call(**model)["cost_micros"]
    assert (
        0
        < call(**model, cached_tokens=500)["cost_micros"]
        < plain
        < call(**model, cache_write_tokens=500)["cost_micros"]
    )


def test_cached_tokens_that_the_prompt_does_not_hold_are_priced_all_the_same() -> None:
    told = call(model="gpt-4o", prompt_tokens=10, cached_tokens=2000)
    assert told["priced_by"] == "genai-prices"
    assert told["cost_micros"] > 0


@pytest.mark.parametrize(
    "names", [{"model": "parrot"}, {}, {"model": "x:y"}, {"model": "gpt-4o", "provider": "my-own-machine"}]
)
def test_an_unknown_model_costs_nothing_and_is_told_as_unknown(names: dict[str, str]) -> None:
    told = call(**names)
    assert (told["cost_micros"], told["priced_by"]) == (0, "nobody")


def test_the_settings_come_before_the_list_and_the_agent_before_the_settings(settings: Any) -> None:
    settings.CHAT_PRICES = {"gpt-4o": OWN, "mine:parrot": {"input": 1, "output": 1}}
    told = call(model="gpt-4o", provider="openai", cached_tokens=400, cache_write_tokens=100)
    assert told["priced_by"] == "settings"
    assert told["cost_micros"] == 500 * 2 + 100 * 8 + 400 * 0.5 + 100 * 2
    assert call(model="parrot", provider="mine")["priced_by"] == "settings"
    assert call(model="mine:parrot")["priced_by"] == "settings"
    assert call(model="parrot", provider="theirs")["priced_by"] == "nobody"
    told = call(model="gpt-4o", cost_micros=7)
    assert (told["cost_micros"], told["priced_by"]) == (7, "agent")


def test_a_part_of_a_micro_dollar_is_rounded_and_more_than_a_column_holds_is_cut(settings: Any) -> None:
    settings.CHAT_PRICES = {"cheap": {"input": 0.5, "output": 0}}
    assert call(model="cheap", prompt_tokens=1)["cost_micros"] == 1
    assert call(model="cheap", prompt_tokens=0)["cost_micros"] == 0
    told = call(model="gpt-4o", prompt_tokens=LARGEST, completion_tokens=LARGEST, cached_tokens=LARGEST)
    assert told["cost_micros"] == LARGEST


@pytest.mark.parametrize("prices", [{"gpt-4o": {"input": "dear", "output": 1}}, {"gpt-4o": 3}, ["gpt-4o"]])
def test_a_setting_that_is_wrong_costs_no_answer_and_the_check_names_it(settings: Any, prices: Any) -> None:
    settings.CHAT_PRICES = prices
    assert call(model="gpt-4o")["total_tokens"] == 1100
    assert [message.id for message in run_checks(tags=["chat"], databases=[])] == ["chat.E021"]


def test_costs_are_told_by_model_and_in_all() -> None:
    meter = UsageMeter()
    for model in ("gpt-4o", "parrot", "gpt-4o"):
        meter.add(model=model, prompt_tokens=1000)
    told = reported(meter)
    assert {model: sums["cost_micros"] for model, sums in told.model_breakdown.items()} == {"gpt-4o": 5000, "parrot": 0}
    assert told.cost_micros == 5000
    assert meter.calls[0]["cost_micros"] == 0, "the agent's own figures stay as they were reported"


def test_the_list_is_not_loaded_by_a_start_nor_by_calls_that_need_none() -> None:
    program = """
import asyncio, sys, django
django.setup()
import chatproject.asgi
from django.urls import resolve
resolve("/api/chat")
from chat.protocol.usage import UsageMeter
from chat.turns.prices import load_list, reported
meter = UsageMeter()
asyncio.run(load_list(meter))
meter.add(model="demo", cost_micros=0)
asyncio.run(load_list(meter))
reported(meter)
assert "genai_prices" not in sys.modules
meter.add(model="gpt-4o")
asyncio.run(load_list(meter))
assert "genai_prices" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, env=environment())


def environment() -> dict[str, str]:
    return {"DJANGO_SETTINGS_MODULE": "chatproject.settings", "DEBUG": "1", "PATH": "", "PYTHONPATH": str(ROOT)}
