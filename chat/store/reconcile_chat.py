"""A reconcile of one chat, for somebody who looks at it."""

from __future__ import annotations

import uuid

from chat.conf import phase
from chat.models import ReconcileMode
from chat.store.drift import DRIFT
from chat.store.reconcile import Step, reconcile
from chat.store.reconcile_range import chats_by_id
from chat.store.reconcile_runs import begin_run, finish_run


def repair_chat(chat: uuid.UUID) -> Step:
    """Make the mirror of one chat what its array says, and leave a record of the run. Raises one of
    ``store.sql.UNAVAILABLE`` when the database stays away.
    """
    chosen = chats_by_id([chat])
    run = begin_run(ReconcileMode.REPAIR, chosen.scope, phase())
    total = Step()
    for step in reconcile(chosen, ReconcileMode.REPAIR):
        total.add(step)
    finish_run(
        run,
        chats=total.chats,
        messages=total.messages,
        found={kind.value: number for kind, number in total.found.items()},
        mended={kind.value: total.mended[kind] for kind in DRIFT},
        examples=[],
        is_clean=total.is_clean,
    )
    return total
