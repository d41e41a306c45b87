"""How much a user may use. Counted by the very statement that begins a turn, settled by the one that ends it.

One row a user (``chat_quotas``), whose lock makes an order of all that a user begins at once, in any number of
processes. It is taken behind the conversation's lock and the turn's own insert: a retry, which inserts nothing, is not
counted, and no two statements wait for each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.module_loading import import_string

from chat import conf
from chat.errors import QuotaExceeded
from chat.protocol.usage import LARGEST
from chat.store.scope import Scope
from chat.store.sql import IntegrityError, Row, row, undone_on_error, violated

# Seconds after which it is worth another try where a live turn must end first: nobody knows when it does.
SOON = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """What one user may use; 0 is no limit.

    ``tokens_a_day``: from midnight to midnight, UTC; a turn may begin as long as some are left, and may need more than
    these. ``turns_a_minute``: in any sixty seconds. ``live_turns``: at once, in all conversations.
    """

    tokens_a_day: int = 0
    turns_a_minute: int = 0
    live_turns: int = 0

    def parameters(self) -> dict[str, int]:
        """The limits as parameters of the SQL below."""
        return {
            "quota_tokens": self.tokens_a_day,
            "quota_turns": self.turns_a_minute,
            "quota_live": self.live_turns,
            "quota_reserved": conf.get("QUOTA_TOKENS_RESERVED"),
        }


def limits_of(user_id: Any) -> Limits | None:
    """What limits a user: the settings, or what the host's ``CHAT_QUOTA_FOR_USER`` makes of them; None when nothing
    does. What that raises comes through: who cannot be asked admits nobody.
    """
    limits = Limits(
        tokens_a_day=conf.get("QUOTA_TOKENS_A_DAY"),
        turns_a_minute=conf.get("QUOTA_TURNS_A_MINUTE"),
        live_turns=conf.get("QUOTA_LIVE_TURNS"),
    )
    if path := conf.get("QUOTA_FOR_USER"):
        limits = import_string(path)(user_id, limits)
    return limits if limits.tokens_a_day or limits.turns_a_minute or limits.live_turns else None


def are_counted() -> bool:
    """Whether anybody may have a limit."""
    return any(map(conf.get, ("QUOTA_FOR_USER", "QUOTA_TOKENS_A_DAY", "QUOTA_TURNS_A_MINUTE", "QUOTA_LIVE_TURNS")))


def admitted(statement: str, limits: Limits | None, **params: Any) -> Row | None:
    """Run a statement that begins a turn of the user ``scope_user``, its places ``{within}`` and ``{quota}`` filled in.
    None where it made none, for its own reasons or because of a limit; then nothing was written.

    Race: any number of them at once. ``within`` only spares most of the refused their writes; whoever is let through
    meets the row's lock in ``quota``, which counts what has been committed until then, and undoes it all.
    """
    if limits is None:
        with undone_on_error():
            return row(statement.format(within="", quota=""), **params)
    try:
        with undone_on_error():
            return row(statement.format(within=WITHIN, quota=TAKE), **params, **limits.parameters())
    except IntegrityError as problem:
        if violated(problem) != ADMITTED:
            raise
        return None


def settlement() -> str:
    """The end of a statement that ends a turn; empty where nobody has a limit. Wants a CTE ``turn`` and the parameter
    ``used_tokens``.
    """
    return SETTLE if are_counted() else ""


def refuse(user_id: Any, limits: Limits, **instead: int) -> None:
    """Raises QuotaExceeded where a turn of this user's would go over a limit now; returns where it would not (any
    more). ``instead`` are other values for parameters of ``limits``.

    Also takes the places back that a turn left behind which ended without settling: it was deleted, or the quotas were
    switched off meanwhile. Race: turns that begin at the same time. A place is given up for a turn that is in the row
    and not live in one and the same snapshot, never for one that is only being made.
    """
    found = row(STATE, scope_user=user_id, **(limits.parameters() | instead))
    if found is None or found["freed"] or found["over"] is None:
        return
    limit: str = found["over"]
    resets_at: datetime | None = found[f"{limit}_resets_at"]
    allowed = getattr(limits, limit)
    raise QuotaExceeded(
        MESSAGES[limit].format(allowed=f"{allowed:,}"),
        limit=limit,
        allowed=allowed,
        used=found[f"{limit}_used"],
        resets_at=resets_at,
        retry_after=SOON if resets_at is None else max(1, math.ceil((resets_at - found["now"]).total_seconds())),
    )


def require_quota(scope: Scope) -> None:
    """Raises QuotaExceeded where the asker could begin no turn even if all of theirs ended now: for who is about to
    stop one in order to begin another.
    """
    if (limits := limits_of(scope.user_id)) is not None:
        refuse(scope.user_id, limits, quota_live=0, quota_reserved=0)


MESSAGES = {
    "tokens_a_day": "Your tokens of today ({allowed}) are used up, or reserved by answers that are being written.",
    "turns_a_minute": "You have sent as many messages in a minute as you may ({allowed}).",
    "live_turns": "As many answers are being written for you as may be ({allowed}). Wait until one has ended.",
}
ADMITTED = "chat_quotas_admitted"
TODAY = "(clock_timestamp() AT TIME ZONE 'UTC')::date"
MIDNIGHT = f"({TODAY} + 1)::timestamp AT TIME ZONE 'UTC'"
# Of a row q, before the turn that is asked about.
TOKENS = f"CASE WHEN q.day = {TODAY} THEN q.tokens ELSE 0 END"
RESERVED = "cardinality(q.live) * %(quota_reserved)s::bigint"
LAST_MINUTE = "unnest(q.began) AS moment WHERE moment > clock_timestamp() - interval '1 minute'"
OVER = f"""CASE
    WHEN %(quota_tokens)s::bigint > 0 AND {TOKENS} + {RESERVED} >= %(quota_tokens)s::bigint THEN 'tokens_a_day'
    WHEN %(quota_turns)s::int > 0 AND (SELECT count(*) FROM {LAST_MINUTE}) >= %(quota_turns)s::int THEN 'turns_a_minute'
    WHEN %(quota_live)s::int > 0 AND cardinality(q.live) >= %(quota_live)s::int THEN 'live_turns'
END"""
WITHIN = f"AND NOT EXISTS (SELECT FROM chat_quotas q WHERE q.user_id = %(scope_user)s AND {OVER} IS NOT NULL)"
TAKE = f""", quota AS (
    INSERT INTO chat_quotas AS q (user_id, live, began, day, tokens, refused)
    SELECT turn.user_id, ARRAY[turn.id], ARRAY[clock_timestamp()], {TODAY}, 0, '' FROM turn
    ON CONFLICT (user_id) DO UPDATE
       SET live = q.live || EXCLUDED.live,
           began = CASE WHEN %(quota_turns)s::int > 0
                        THEN ARRAY(SELECT moment FROM {LAST_MINUTE}) || EXCLUDED.began ELSE '{{}}' END,
           refused = coalesce({OVER}, '')
)"""
# Tokens belong to the day on which their turn ends, or parks: what was counted then is not counted again. The place of
# a turn that holds none (any more) is no place less.
SETTLE = f""", quota AS (
    UPDATE chat_quotas q
       SET live = array_remove(q.live, turn.id), day = {TODAY},
           tokens = least({TOKENS} + greatest(0, %(used_tokens)s::numeric - coalesce((
               SELECT u.total_tokens FROM token_usage u WHERE u.turn_id = turn.id), 0)), {LARGEST})::bigint
      FROM turn WHERE q.user_id = turn.user_id
)"""
STATE = f"""
WITH ended AS (
    SELECT array_agg(turn) AS turns FROM chat_quotas q, unnest(q.live) AS turn
     WHERE q.user_id = %(scope_user)s
       AND NOT EXISTS (SELECT FROM chat_turns t WHERE t.id = turn AND t.status = 'streaming')
), freed AS (
    UPDATE chat_quotas q SET live = ARRAY(SELECT turn FROM unnest(q.live) AS turn WHERE turn <> ALL (ended.turns))
      FROM ended WHERE q.user_id = %(scope_user)s AND ended.turns IS NOT NULL
    RETURNING 1
)
SELECT EXISTS (SELECT FROM freed) AS freed, clock_timestamp() AS now, {OVER} AS over,
       cardinality(q.live) AS live_turns_used, NULL::timestamptz AS live_turns_resets_at,
       (SELECT count(*) FROM {LAST_MINUTE}) AS turns_a_minute_used,
       (SELECT moment FROM {LAST_MINUTE} ORDER BY moment DESC OFFSET greatest(%(quota_turns)s::int, 1) - 1 LIMIT 1)
           + interval '1 minute' AS turns_a_minute_resets_at,
       {TOKENS} + {RESERVED} AS tokens_a_day_used,
       CASE WHEN {TOKENS} >= %(quota_tokens)s::bigint THEN {MIDNIGHT} END AS tokens_a_day_resets_at
  FROM chat_quotas q WHERE q.user_id = %(scope_user)s
"""
