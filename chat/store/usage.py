"""Token usage: one row a turn, on every ending, and its figures where they come later."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chat.protocol.usage import LARGEST
from chat.store.sql import decoded, encoded, row


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


# Of a turn that parked, the row is there: its figures become those of all its legs.
USAGE_AGAIN = f"""
    ON CONFLICT (turn_id) WHERE turn_id IS NOT NULL DO UPDATE
       SET ({USAGE_COLUMNS}) = ({", ".join(f"EXCLUDED.{name.strip()}" for name in USAGE_COLUMNS.split(","))})
"""


def read_usage(turn: int) -> UsageFigures | None:
    """What a turn has used so far, as it was stored when it parked; None where nothing was."""
    found = row(f"SELECT {USAGE_COLUMNS} FROM token_usage WHERE turn_id = %(turn)s", turn=turn)
    if found is None:
        return None
    kept = {name: decoded(found[name]) for name in ("model_breakdown", "call_details")}
    return UsageFigures(**(found | kept))


def settle_usage(turn: int, figures: UsageFigures) -> bool:
    """Replace an estimate, or the lack of one, by a provider's figures that came when the turn had ended. The tokens
    that its user has used on that day are corrected by the difference.

    A compare-and-set on the source: whoever comes second, or finds the provider's figures there, changes nothing and
    gets False. False as well for a turn that has no row yet.
    """
    return row(SETTLE_LATE, turn=turn, **figures.parameters()) is not None


SETTLE_LATE = f"""
WITH estimate AS (
    SELECT id, user_id, created_at, total_tokens FROM token_usage
     WHERE turn_id = %(turn)s AND source IN ('estimated', 'missing') FOR UPDATE
), usage AS (
    UPDATE token_usage u SET ({USAGE_COLUMNS}) = ROW({USAGE_VALUES})
      FROM estimate WHERE u.id = estimate.id
    RETURNING u.id
), quota AS (
    UPDATE chat_quotas q
       SET tokens = greatest(0, least(q.tokens + %(total_tokens)s::numeric - estimate.total_tokens, {LARGEST}))::bigint
      FROM estimate
     WHERE q.user_id = estimate.user_id AND q.day = (estimate.created_at AT TIME ZONE 'UTC')::date
)
SELECT id FROM usage
"""
