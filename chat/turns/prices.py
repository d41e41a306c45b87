"""What the calls of a turn cost, in millionths of a US dollar.

The price of a call is what its agent says, else what ``CHAT_PRICES`` says of its model, else what the list of the
library ``genai_prices`` says, which is a part of its code: nothing is asked over the network. A call of a model that
nobody knows costs 0. ``priced_by`` tells which it was: ``agent``, ``settings``, ``genai-prices`` or ``nobody``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from chat import conf
from chat.protocol.usage import LARGEST, UsageMeter
from chat.store.usage import UsageFigures
from chat.telemetry import event

logger = logging.getLogger(__name__)

MILLION = 1_000_000
#: What a price of ``CHAT_PRICES`` may be for, with the count it is multiplied by.
KINDS = ("input", "output", "cache_read", "cache_write")

_loaded = False


async def load_list(meter: UsageMeter) -> None:
    """See to it that ``reported`` finds the list loaded, where it will look into it. That takes a third of a second: it
    belongs into a thread, and not into the start of a server whose agents need no list. Raises nothing.
    """
    if not _loaded and any("priced_by" not in call and not _own_price(call) for call in meter.calls):
        try:
            await asyncio.to_thread(_load)
        except Exception as problem:
            name = type(problem).__name__
            logger.error("there is no list of prices: %s", name, extra=event("prices_missing", problem=name))


def _load() -> None:
    global _loaded
    from genai_prices import Usage, calc_price

    calc_price(Usage(input_tokens=1), "gpt-4o")  # its first look builds what it looks into
    _loaded = True


def reported(meter: UsageMeter) -> UsageFigures:
    """What an agent reported, priced: in all, by model and by call. Raises nothing: a price never costs the answer."""
    known = UsageMeter([_priced(call) for call in meter.calls])
    return UsageFigures(
        source=known.source,
        **known.totals(),
        model_breakdown=known.by_model(),
        call_details={"calls": known.calls},
    )


def wrong_prices(prices: Any) -> Iterator[str]:
    """What cannot be in ``CHAT_PRICES``, one sentence each."""
    if not isinstance(prices, dict):
        yield "It is a mapping of models to their prices."
        return
    for model, price in prices.items():
        if not isinstance(price, dict) or not {"input", "output"} <= price.keys() <= set(KINDS):
            yield f"{model!r} needs the prices input and output, and may have cache_read and cache_write."
            continue
        try:
            if not all(0 <= Decimal(str(amount)) < MILLION for amount in price.values()):
                yield f"{model!r} has a price that is no sum of dollars."
        except ArithmeticError:
            yield f"{model!r} has a price that is no number."


def _priced(call: dict[str, Any]) -> dict[str, Any]:
    if "priced_by" in call:
        return call
    try:
        if (price := _own_price(call)) is not None:
            return {**call, "cost_micros": _micros(_by_settings(call, price)), "priced_by": "settings"}
        if (cost := _by_list(call)) is not None:
            return {**call, "cost_micros": _micros(cost * MILLION), "priced_by": "genai-prices"}
    except Exception as problem:  # a setting or a library that is wrong
        name = type(problem).__name__
        told = event("price_unknown", problem=name)
        logger.warning("a call of %r has no price: %s", call["model"], name, extra=told)
    return {**call, "priced_by": "nobody"}


def _own_price(call: dict[str, Any]) -> dict[str, Any] | None:
    prices = conf.get("PRICES")
    if not isinstance(prices, dict):  # the system check tells
        return None
    return prices.get(f"{call.get('provider', '')}:{call['model']}") or prices.get(call["model"])


def _by_settings(call: dict[str, Any], price: dict[str, Any]) -> Decimal:
    # Dollars for a million tokens are micro-dollars for one.
    cached, written = call["cached_tokens"], call.get("cache_write_tokens", 0)
    counts = {
        "input": max(0, call["prompt_tokens"] - cached - written),
        "output": call["completion_tokens"],
        "cache_read": cached,
        "cache_write": written,
    }
    return sum(
        (Decimal(counts[kind]) * Decimal(str(price.get(kind, price["input"]))) for kind in KINDS), start=Decimal(0)
    )


def _by_list(call: dict[str, Any]) -> Decimal | None:
    """Dollars; None where the list does not have the model."""
    from genai_prices import Usage, calc_price

    cached, written = call["cached_tokens"], call.get("cache_write_tokens", 0)
    usage = Usage(
        input_tokens=max(call["prompt_tokens"], cached + written),
        output_tokens=call["completion_tokens"],
        cache_read_tokens=cached or None,
        cache_write_tokens=written or None,
    )
    for provider, model in _names(call):
        try:
            return calc_price(usage, model, provider_id=provider).total_price
        except LookupError:
            continue
    return None


def _names(call: dict[str, Any]) -> Iterable[tuple[str | None, str]]:
    """As which the list may know a model. One of a provider that it does not know is not looked for among the others':
    who runs an open model at home does not pay its hosted price.
    """
    model = call["model"]
    if call.get("provider"):
        return [(call["provider"], model)]
    provider, colon, name = model.partition(":")
    return [(None, model), *([(provider, name)] if colon else [])]


def _micros(cost: Decimal) -> int:
    return int(min(max(cost, Decimal(0)), Decimal(LARGEST)).to_integral_value(ROUND_HALF_UP))
