"""Token usage: one row a turn, on every ending."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chat.store.sql import encoded


@dataclass(frozen=True, slots=True)
class UsageFigures:
    """Tokens and cost (millionths of a US dollar) of one turn, and where the figures come from:
    ``reported``, ``estimated`` or ``missing``.
    """

    source: str = "missing"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_micros: int = 0
    model_breakdown: dict[str, Any] = field(default_factory=dict)
    call_details: dict[str, Any] = field(default_factory=dict)

    def parameters(self) -> dict[str, Any]:
        """The figures as parameters of ``USAGE_VALUES``."""
        return {
            "source": self.source,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            "cached_tokens": self.cached_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "cost_micros": self.cost_micros,
            "model_breakdown": encoded(self.model_breakdown),
            "call_details": encoded(self.call_details),
        }


USAGE_COLUMNS = (
    "source, prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens, cost_micros,"
    " model_breakdown, call_details"
)
USAGE_VALUES = (
    "%(source)s, %(prompt_tokens)s, %(completion_tokens)s, %(total_tokens)s, %(cached_tokens)s,"
    " %(reasoning_tokens)s, %(cost_micros)s, %(model_breakdown)s::jsonb, %(call_details)s::jsonb"
)
