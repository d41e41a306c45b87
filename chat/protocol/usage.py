"""Counting what a turn cost, call by call."""

from __future__ import annotations

from collections.abc import Callable
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
    """The model calls of one turn, as its agent reports them.

    ``on_late`` is the engine's: called for each call that is noted when the turn has ended.
    """

    calls: list[dict[str, Any]] = field(default_factory=list)
    on_late: Callable[[], None] | None = None

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
        provider: str = "",
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        total_tokens: int | None = None,
        cached_tokens: int = 0,
        cache_write_tokens: int = 0,
        reasoning_tokens: int = 0,
        cost_micros: int | None = None,
        estimated: bool = False,
    ) -> None:
        """Note one call of a model. ``total_tokens`` is the sum where the provider gives none. The prompt's tokens hold
        those that were read from the provider's cache and those written to it; the completion's those of reasoning.

        ``cost_micros`` are millionths of a US dollar, for an agent that knows; where it does not (None), the cost comes
        from a price list, by ``model`` and ``provider`` (``openai``, ``anthropic`` …; it may also stand before the
        model: ``openai:gpt-4o``). A provider's nonsense (negative, no number) counts as 0.

        ``estimated``: the provider said nothing, and the figures are the agent's guess. What it says may be noted after
        the turn has ended, on the loop or in any other thread: it replaces guesses.
        """
        counts = {
            "prompt_tokens": _count(prompt_tokens),
            "completion_tokens": _count(completion_tokens),
            "cached_tokens": _count(cached_tokens),
            "reasoning_tokens": _count(reasoning_tokens),
            "cost_micros": _count(cost_micros),
        }
        if cache_write_tokens:
            counts["cache_write_tokens"] = _count(cache_write_tokens)
        total = counts["prompt_tokens"] + counts["completion_tokens"] if total_tokens is None else total_tokens
        call: dict[str, Any] = {"model": clean_text(str(model))[:200], **counts, "total_tokens": _count(total)}
        if provider:
            call["provider"] = clean_text(str(provider))[:100]
        if cost_micros is not None:
            call["priced_by"] = "agent"
        if estimated:
            call["estimated"] = True
        self.calls.append(call)
        if self.on_late is not None:
            self.on_late()

    def add_of_title(self, title: UsageMeter) -> None:
        """Note the calls that made the thread's title: they count, and say nothing of what the answer took."""
        self.calls += [{**call, "of": "title"} for call in title.calls]

    def tells_of_answer(self, since: int = 0) -> bool:
        """Whether a call behind the first ``since`` was one of the answer's."""
        return any(call.get("of") != "title" for call in self.calls[since:])

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
