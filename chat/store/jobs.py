"""The jobs that tell workers which turns to run, in Procrastinate's tables beside ours (``CHAT_RUNNER=worker``).

A job is a ticket: it names a turn and nothing of what was said. It is written by the transaction that begins the turn,
so that there is never one without the other; whoever claims the turn (``store.leases.claim``) runs it, and from then on
its lease is what counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from chat import conf
from chat.store.sql import PATIENCE, connection, one_transaction, row, rows
from chat.store.turns import StoredTurn

if TYPE_CHECKING:
    from procrastinate.jobs import JobDeferrer

APPLICATION = "procrastinate.contrib.django"
TASK = "chat.run_turn"
# Seconds without a sign of life after which Procrastinate takes a worker for gone, by its own default.
STALLED_SECONDS = 30.0

T = TypeVar("T")


def begun_with_job(begin: Callable[[], T], turn_of: Callable[[T], StoredTurn | None]) -> T:
    """Run ``begin``, and write the job of the turn that it began, if it did, in the same transaction: a process that
    dies in between has begun nothing. ``turn_of`` says which turn in the answer of ``begin`` is to run.
    """
    with one_transaction():
        row(f"SELECT {PATIENCE}")  # it holds locks between the two, and may be paused there
        answer = begin()
        turn = turn_of(answer)
        if turn is not None:
            if turn.title:
                # Which turn has named its thread is known to this statement only, and the one who runs it tells it.
                rows(NAMES, turn=turn.pk, title=turn.title)
            put_in_queue(turn.pk, turn.epoch)
    return answer


def put_in_queue(turn: int, epoch: int) -> None:
    """Tell the workers of a turn. Twice does no harm: one of them claims it."""
    _job().defer(turn=turn, epoch=epoch)


def keep_waiting() -> None:
    """Renew the leases of turns whose job nobody has taken yet, for a worker: as long as one is alive they wait for a
    place. A turn without a job, or whose job died with its worker before the claim, is not renewed, and expires.
    """
    rows(KEEP_WAITING, queue=conf.get("WORKER_QUEUE"))


def forget_lost() -> int:
    """Delete the jobs of workers that are gone; how many. Their turns have ended by their leases."""
    found = row(FORGET_LOST, queue=conf.get("WORKER_QUEUE"), seconds=STALLED_SECONDS)
    assert found is not None
    return int(found["number"])


def is_installed() -> bool:
    """Whether Procrastinate is there to be imported."""
    return find_spec("procrastinate") is not None


def has_tables() -> bool:
    """Whether its tables are in our database."""
    found = row("SELECT to_regclass('procrastinate_jobs') IS NOT NULL AS there")
    return bool(found and found["there"])


def _job() -> JobDeferrer:
    from procrastinate import tasks

    return tasks.configure_task(name=TASK, job_manager=_manager(connection().alias), queue=conf.get("WORKER_QUEUE"))


@cache
def _manager(alias: str):  # type: ignore[no-untyped-def]
    # Not that of the application which Procrastinate keeps for Django: its own worker command replaces the connection
    # of that one, and a job would be written beside the transaction, not in it.
    from procrastinate.contrib.django.django_connector import DjangoConnector
    from procrastinate.manager import JobManager

    return JobManager(DjangoConnector(alias))


NAMES = """
UPDATE chat_turns SET request = request || jsonb_build_object('names', %(title)s::text) WHERE id = %(turn)s
"""
KEEP_WAITING = """
UPDATE chat_turns SET heartbeat_at = clock_timestamp()
 WHERE id IN (SELECT t.id FROM chat_turns t JOIN procrastinate_jobs j ON t.id = (j.args ->> 'turn')::bigint
               WHERE j.queue_name = %(queue)s AND j.status = 'todo' AND t.epoch = (j.args ->> 'epoch')::int
                 AND t.owner = '' AND t.status = 'streaming'
                 FOR NO KEY UPDATE OF t SKIP LOCKED)  -- each worker renews them, and none waits for another
"""
FORGET_LOST = """
WITH gone AS (
    DELETE FROM procrastinate_jobs j
     WHERE j.queue_name = %(queue)s AND j.status = 'doing'
       AND NOT EXISTS (SELECT FROM procrastinate_workers w WHERE w.id = j.worker_id
                          AND w.last_heartbeat > clock_timestamp() - make_interval(secs => %(seconds)s))
       AND NOT EXISTS (SELECT FROM chat_turns t WHERE t.id = (j.args ->> 'turn')::bigint AND t.status = 'streaming')
    RETURNING 1
)
SELECT count(*) AS number FROM gone
"""
