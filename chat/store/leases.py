"""Leases: who runs which turn, and until when that is believed. Compares database times with database times only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chat.store.sql import row, rows
from chat.store.turns import TURN_COLUMNS, StoredTurn, message_id, stored_turn


@dataclass(frozen=True, slots=True)
class Lease:
    """A turn that is still ours, and whether somebody asked for its stop."""

    turn: int
    epoch: int
    stop_requested: bool


def renew(turns: Iterable[tuple[int, int]]) -> list[Lease]:
    """Renew the leases of ``(turn, epoch)`` pairs. Those that are missing in the answer are no longer ours.

    Race: the log's writer, in another thread, locks the same turns in the order of their ids (``stream_log.append``).
    An UPDATE alone locks rows in whatever order its join finds them, and each would wait for the other: so they are
    locked first, in that order.
    """
    wanted = sorted(turns)
    found = rows(
        """
        WITH held AS MATERIALIZED (
            SELECT t.id FROM chat_turns t
             WHERE t.id = ANY (string_to_array(%(turns)s, ',')::bigint[]) AND t.status = 'streaming'
             ORDER BY t.id FOR NO KEY UPDATE
        )
        UPDATE chat_turns t SET heartbeat_at = clock_timestamp()
          FROM held,
               unnest(string_to_array(%(turns)s, ',')::bigint[], string_to_array(%(epochs)s, ',')::int[])
               AS ours (turn, epoch)
         WHERE t.id = held.id AND t.id = ours.turn AND t.epoch = ours.epoch
        RETURNING t.id, t.epoch, t.stop_requested_at IS NOT NULL AS stop_requested
        """,
        turns=",".join(str(turn) for turn, _ in wanted),
        epochs=",".join(str(epoch) for _, epoch in wanted),
    )
    return [Lease(one["id"], one["epoch"], one["stop_requested"]) for one in found]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A turn that is ours to run: whether its answer has begun before, and whether its stop was asked for."""

    turn: StoredTurn
    goes_on: bool
    stop_requested: bool


def claim(turn: int, epoch: int, owner: str) -> Claimed | None:
    """Take the lease of a turn that was begun for whoever claims it. None when it is somebody else's, has ended, or
    goes on under another epoch.

    Race: any number of workers with a job for it, and those who recover it. The row goes to one of them; it may ask
    again, when it does not know whether its commit went through.
    """
    found = row(
        f"""
        UPDATE chat_turns t SET owner = %(owner)s, heartbeat_at = clock_timestamp()
         WHERE t.id = %(turn)s AND t.epoch = %(epoch)s AND t.status = 'streaming' AND t.owner IN ('', %(owner)s)
        RETURNING {TURN_COLUMNS}, {message_id("user")} AS user_message_id,
               {message_id("assistant")} AS assistant_message_id, t.stop_requested_at IS NOT NULL AS stop_requested,
               EXISTS (SELECT FROM chat_stream_events e WHERE e.turn_id = t.id) AS goes_on,
               coalesce(t.request ->> 'names', '') AS title
        """,
        turn=turn,
        epoch=epoch,
        owner=owner,
    )
    if found is None:
        return None
    goes_on, stop_requested = found.pop("goes_on"), found.pop("stop_requested")
    if goes_on:
        found["title"] = ""  # told in its first leg
    return Claimed(stored_turn(found), goes_on, stop_requested)


def take_expired(seconds: float, owner: str, *, turn: int | None = None, limit: int = 20) -> list[StoredTurn]:
    """Take over turns whose lease ran out ``seconds`` after the last heartbeat: their epoch is raised, so that
    whoever ran them writes nothing more. ``turn`` restricts it to one.

    Race: any number of sweepers. SKIP LOCKED gives each turn to one of them, and the renewed heartbeat keeps the
    others off until this one is done, or dies, too.
    """
    found = rows(
        f"""
        UPDATE chat_turns t
           SET epoch = t.epoch + 1, owner = %(owner)s, heartbeat_at = clock_timestamp()
         WHERE t.id IN (
               SELECT id FROM chat_turns
                WHERE status = 'streaming' AND heartbeat_at < clock_timestamp() - make_interval(secs => %(seconds)s)
                  AND (%(turn)s::bigint IS NULL OR id = %(turn)s)
                ORDER BY heartbeat_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
        RETURNING {TURN_COLUMNS},
               {message_id("user")} AS user_message_id, {message_id("assistant")} AS assistant_message_id
        """,
        owner=owner,
        seconds=seconds,
        turn=turn,
        limit=limit,
    )
    return [stored_turn(one) for one in found]
