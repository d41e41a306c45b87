"""What stands in PostgreSQL about how the application does, for those who watch it."""

from __future__ import annotations

from chat.models import TurnStatus
from chat.store.drift import DRIFT
from chat.store.reconcile_runs import COUNTED
from chat.store.sql import decoded, row

# Each part is a scan of a partial index that holds little: no turn that has ended, no chat whose mirror is well.
STANDING = """
SELECT busy.*, queued.*, mirror.*, checked.*
  FROM (SELECT count(*) FILTER (WHERE status = 'streaming') AS streaming,
               count(*) FILTER (WHERE status = 'awaiting_approval') AS awaiting_approval,
               count(*) FILTER (WHERE status = 'streaming' AND heartbeat_at
                                < clock_timestamp() - make_interval(secs => %(lease)s)) AS stuck,
               coalesce(extract(epoch FROM clock_timestamp()
                                - min(heartbeat_at) FILTER (WHERE status = 'streaming')), 0)::float8 AS heartbeat
          FROM chat_turns WHERE status IN ('streaming', 'awaiting_approval')) busy,
       (SELECT count(*) AS queued,
               coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS waiting
          FROM chat_turns q WHERE status = 'queued'  -- nothing moves in the trash
           AND NOT EXISTS (SELECT FROM chat_threads h WHERE h.id = q.thread_id AND h.deleted_at IS NOT NULL)) queued,
       (SELECT count(*) AS failed FROM copilot_chats WHERE mirror_failures > 0) mirror
  LEFT JOIN (SELECT found, mended, extract(epoch FROM clock_timestamp() - finished_at)::float8 AS age
               FROM copilot_reconcile_runs
              WHERE scope = 'all' AND mode = ANY (%(modes)s::text[]) AND is_clean IS NOT NULL
              ORDER BY finished_at DESC, id DESC LIMIT 1) checked ON true
"""


def standing(lease_seconds: float) -> list[tuple[str, str, float]]:
    """Values of those figures of ``chat.metrics`` that are no process's own: ``(figure, label, value)``. Those of the
    last full reconcile are missing where there was none.
    """
    found = row(STANDING, lease=lease_seconds, modes=[str(mode) for mode in COUNTED])
    assert found is not None
    values = [
        *(("chat_turns", status.value, found[status.value]) for status in NOT_ENDED),
        ("chat_turns_stuck", "", found["stuck"]),
        ("chat_oldest_heartbeat_seconds", "", found["heartbeat"]),
        ("chat_oldest_queued_seconds", "", found["waiting"]),
        ("chat_mirror_failed_chats", "", found["failed"]),
    ]
    if found["age"] is not None:
        drift, mended = decoded(found["found"]), decoded(found["mended"])
        values += [("chat_mirror_drift", kind.value, drift.get(kind, 0) - mended.get(kind, 0)) for kind in DRIFT]
        values.append(("chat_mirror_check_age_seconds", "", found["age"]))
    return values


NOT_ENDED = (TurnStatus.QUEUED, TurnStatus.STREAMING, TurnStatus.AWAITING_APPROVAL)
