"""Counting what a turn cost, call by call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chat.protocol.sanitize import clean_text

#: What the columns of ``token_usage`` hold.
LARGEST = 2**63 - 1
COUNTS = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost_micros",
)


@dataclass(slots=True)
class UsageMeter:
    """The model calls of one turn, as its agent reports them."""

    calls: list[dict[str, Any]] = field(default_factory=list)

    @property
    def source(self) -> str:
        """``reported``; ``estimated`` if a call's figures are, ``missing`` without any call."""
        if not self.calls:
            return "missing"
        return "estimated" if any(call.get("estimated") for call in self.calls) else "reported"

    def add(
        self,
        *,
        model: str = "",
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        total_tokens: int | None = None,
        cached_tokens: int = 0,
        reasoning_tokens: int = 0,
        cost_micros: int = 0,
        estimated: bool = False,
    ) -> None:
        """Note one call of a model. ``total_tokens`` is the sum where the provider gives none;
        ``cost_micros`` are millionths of a US dollar. A provider's nonsense (negative, no number) counts as 0.
        ``estimated``: the provider said nothing, and the figures are the agent's guess.
        """
        counts = {
            "prompt_tokens": _count(prompt_tokens),
            "completion_tokens": _count(completion_tokens),
            "cached_tokens": _count(cached_tokens),
            "reasoning_tokens": _count(reasoning_tokens),
            "cost_micros": _count(cost_micros),
        }
        total = counts["prompt_tokens"] + counts["completion_tokens"] if total_tokens is None else total_tokens
        call: dict[str, Any] = {"model": clean_text(str(model))[:200], **counts, "total_tokens": _count(total)}
        self.calls.append({**call, "estimated": True} if estimated else call)

    def totals(self) -> dict[str, int]:
        """The sum of all calls, by count."""
        return {count: _count(sum(call[count] for call in self.calls)) for count in COUNTS}

    def by_model(self) -> dict[str, dict[str, int]]:
        """The sums, model by model."""
        return {
            model: {
                count: _count(sum(call[count] for call in self.calls if call["model"] == model)) for count in COUNTS
            }
            for model in dict.fromkeys(call["model"] for call in self.calls)
        }


def _count(number: object) -> int:
    return max(0, min(number, LARGEST)) if isinstance(number, int) else 0
