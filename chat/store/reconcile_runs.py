"""The record of each run of a reconcile, and what a phase asks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chat.conf import Phase
from chat.models import ReconcileMode
from chat.store.sql import encoded, row

COUNTED = (ReconcileMode.CHECK, ReconcileMode.REPAIR, ReconcileMode.INSERT)


@dataclass(frozen=True, slots=True)
class FullCheck:
    """How the last finished run over all chats ended, whether or not it also wrote."""

    run: int
    mode: ReconcileMode
    is_clean: bool
    finished_at: datetime


def begin_run(mode: ReconcileMode, scope: str, phase: Phase) -> int:
    """Record a run that has begun: it is neither clean nor not until it has finished. Returns its id."""
    begun = row(
        """
        INSERT INTO copilot_reconcile_runs (mode, scope, phase) VALUES (%(mode)s, %(scope)s, %(phase)s) RETURNING id
        """,
        mode=mode,
        scope=scope,
        phase=phase,
    )
    assert begun is not None
    run: int = begun["id"]
    return run


def finish_run(
    run: int,
    *,
    chats: int,
    messages: int,
    found: Mapping[str, int],
    mended: Mapping[str, int],
    examples: Sequence[dict[str, Any]],
    is_clean: bool,
) -> None:
    """Record how a run ended. With this commit everything that the run has committed is on disk."""
    row(
        """
        UPDATE copilot_reconcile_runs
           SET chats = %(chats)s, messages = %(messages)s, found = %(found)s::jsonb, mended = %(mended)s::jsonb,
               examples = %(examples)s::jsonb, is_clean = %(is_clean)s, finished_at = clock_timestamp()
         WHERE id = %(run)s
        """,
        run=run,
        chats=chats,
        messages=messages,
        found=encoded({str(kind): number for kind, number in found.items()}),
        mended=encoded({str(kind): number for kind, number in mended.items()}),
        examples=encoded(list(examples)),
        is_clean=is_clean,
    )


def last_full_check() -> FullCheck | None:
    """The last run over all chats that has finished, but in phase ``jsonb``, which goes on without the mirror; None
    where there is none. What phases are allowed by.
    """
    found = row(
        """
        SELECT id AS run, mode, is_clean, finished_at FROM copilot_reconcile_runs
         WHERE scope = 'all' AND mode = ANY (%(modes)s::text[]) AND finished_at IS NOT NULL
           AND phase <> 'jsonb'
         ORDER BY finished_at DESC, id DESC LIMIT 1
        """,
        modes=[str(mode) for mode in COUNTED],
    )
    return FullCheck(**{**found, "mode": ReconcileMode(found["mode"])}) if found else None


def why_not(phase: Phase) -> tuple[str, str] | None:
    """What forbids a phase, and what to do about it; None where nothing does.

    Phases that read the mirror want the last full run to have found, or left, no drift, and no write of the mirror to
    have failed since; who has begun without arrays has nothing to compare. Phases that read the array want no array to
    be behind.
    """
    state = row(
        """
        SELECT (SELECT count(*) FROM copilot_chats WHERE array_behind) AS behind,
               (SELECT count(*) FROM copilot_chats WHERE mirror_failures > 0 AND NOT array_behind) AS failed
        """
    )
    assert state is not None
    if phase in (Phase.JSONB, Phase.DUAL) and state["behind"]:
        return (
            f"{state['behind']} copilot chats have an array that lacks messages, written in phase mirror_only.",
            "Run `manage.py reconcile_messages --from-mirror` in phase mirror_reads.",
        )
    if phase in (Phase.MIRROR_READS, Phase.MIRROR_ONLY):
        if state["failed"]:
            return (
                f"{state['failed']} copilot chats have a mirror that lacks what could not be written to it.",
                "Run `manage.py reconcile_messages --repair` in phase dual or mirror_reads.",
            )
        last = last_full_check()
        if last is None and row(COMPARABLE):
            return (
                "The copilot chats' mirror has never been compared with their arrays.",
                "Run `manage.py reconcile_messages --check` in phase dual or mirror_reads.",
            )
        if last is not None and not last.is_clean:
            return (
                f"The last full comparison of the copilot chats' mirror with their arrays ({last.mode}, "
                f"{last.finished_at:%Y-%m-%d %H:%M} UTC) left drift.",
                "Run `manage.py reconcile_messages --repair` in phase dual or mirror_reads, then `--check`.",
            )
    return None


COMPARABLE = "SELECT id FROM copilot_chats WHERE NOT array_behind AND messages <> '[]' LIMIT 1"
