"""Turns that wait for their thread's busy turn to end. Their rows are written when it is their time."""

from __future__ import annotations

import uuid
from typing import Any

from chat.errors import Contention, QueueFull
from chat.models import TurnStatus
from chat.store import turn_news
from chat.store.begin import FOLLOWS, MESSAGES, MODEL, NewUserMessage
from chat.store.messages import BUSY_SQL
from chat.store.quotas import admitted, are_counted, limits_of
from chat.store.scope import VISIBLE_THREAD, WRITABLE_THREAD, Scope
from chat.store.sql import PATIENCE, encoded, one_transaction, row, rows
from chat.store.threads import require_writable
from chat.store.turns import THREAD_CHANNEL, TURN_COLUMNS, StoredTurn, message_id, stored_turn


def enqueue_turn(
    scope: Scope,
    thread_id: uuid.UUID,
    turn_id: str,
    *,
    fingerprint: str,
    request: dict[str, Any],
    user_message: NewUserMessage,
    trigger: str = "submit",
    model: str = "",
    default_model: str = "",
    title: str = "",
    first: bool = False,
    most: int,
) -> StoredTurn | None:
    """What ``begin_turn`` takes, to wait behind the busy turn and those that wait already, or before these, as the
    ``first``. None when there is nothing to wait for (any more), or the turn id is taken: begin it, or find it, then.

    Race: the busy turn ends at the same time, and nobody would promote what comes too late. Both hold the thread's
    lock, and the second statement sees whatever was committed under it. Raises ThreadNotFound; QueueFull when
    ``most`` turns wait.
    """
    with one_transaction():
        if row(LOCK_WRITABLE, thread=thread_id, scope_user=scope.user_id) is None:
            require_writable(scope, thread_id)
            raise Contention  # it was shared a moment ago
        made = row(
            ENQUEUE,
            scope_user=scope.user_id,
            thread=thread_id,
            turn_id=turn_id,
            request=encoded(
                {
                    **request,
                    "message": {"parts": user_message.parts, "client_id": user_message.client_id},
                    "title": title,
                    **({"first": True} if first else {}),
                }
            ),
            trigger=trigger,
            fingerprint=fingerprint,
            model=model,
            default_model=default_model,
            most=most,
        )
        if made is None:
            return None
        if made["id"] is None:
            raise QueueFull
    return stored_turn(made, created=True)


def promote(thread_id: uuid.UUID, owner: str) -> StoredTurn | None:
    """Begin the thread's next queued turn, if no turn is busy: its rows are written now, and the caller runs it. One
    whose user may begin no turn at the moment goes on waiting: until somebody tries again, as the sweepers do.

    Race: everybody who ends a turn, and the sweepers, may try at once. The thread's lock lets one through, and the
    next one finds the thread busy.
    """
    with one_transaction():
        if row(LOCK, thread=thread_id) is None:
            return None
        asker, limits = None, None
        if are_counted():
            waiting = row(NEXT_ASKER, thread=thread_id)
            asker = waiting and waiting["user_id"]
            limits = limits_of(asker) if asker is not None else None
        made = admitted(PROMOTE, limits, thread=thread_id, owner=owner, scope_user=asker)
        return turn_news.started(stored_turn(made, created=True)) if made else None


def may_go_on(thread_id: uuid.UUID) -> bool:
    """Whether a turn waits in the thread and none is busy. Behind the thread's lock: an end that is being committed in
    this moment, and did not see what has begun to wait, counts.
    """
    with one_transaction():
        if row(LOCK, thread=thread_id) is None:
            return False
        found = row(
            f"""
            SELECT EXISTS (SELECT FROM chat_turns WHERE thread_id = %(thread)s AND status = 'queued')
                   AND NOT EXISTS (SELECT FROM chat_turns
                                    WHERE thread_id = %(thread)s AND status IN ({BUSY_SQL})) AS free
            """,
            thread=thread_id,
        )
        return bool(found and found["free"])


def waiting_threads(limit: int = 20) -> list[uuid.UUID]:
    """Threads whose queue nobody has moved on, for the sweeper. Any of them: those whose users may begin nothing for
    hours must not stand before the others.
    """
    found = rows(
        f"""
        SELECT q.thread_id FROM chat_turns q JOIN chat_threads ON chat_threads.id = q.thread_id
         WHERE q.status = 'queued' AND chat_threads.deleted_at IS NULL
           AND NOT EXISTS (SELECT FROM chat_turns b WHERE b.thread_id = q.thread_id AND b.status IN ({BUSY_SQL}))
         GROUP BY q.thread_id ORDER BY random() LIMIT %(limit)s
        """,
        limit=limit,
    )
    return [one["thread_id"] for one in found]


def queued_turns(scope: Scope, thread_id: uuid.UUID) -> list[StoredTurn]:
    """The turns that wait in a thread, in the order in which they will run."""
    found = rows(
        f"""
        SELECT {TURN_COLUMNS}, NULL::bigint AS user_message_id, NULL::bigint AS assistant_message_id
          FROM chat_turns t JOIN chat_threads ON chat_threads.id = t.thread_id
         WHERE t.thread_id = %(thread)s AND t.status = 'queued' AND {VISIBLE_THREAD}
         ORDER BY {NEXT}
        """,
        thread=thread_id,
        scope_user=scope.user_id,
    )
    return [stored_turn(one) for one in found]


def abandoned_threads() -> list[uuid.UUID]:
    """Deleted threads in which a turn is busy. Whoever deletes one ends it as well, but may be killed, or lose the
    database, between the two: such a thread is never purged.
    """
    found = rows(
        f"""
        SELECT t.thread_id FROM chat_turns t JOIN chat_threads h ON h.id = t.thread_id
         WHERE t.status IN ({BUSY_SQL}) AND h.deleted_at IS NOT NULL
        """
    )
    return [one["thread_id"] for one in found]


def abandoned_turns(thread_id: uuid.UUID) -> list[StoredTurn]:
    """The busy turn of a thread that was deleted, if one is; who deleted it may end it. What waits there goes on when
    the thread is restored, or goes with it.
    """
    return _unended("t.thread_id = %(thread)s AND t.status <> 'queued' AND h.deleted_at IS NOT NULL", thread=thread_id)


def turns_around(user: Any) -> list[StoredTurn]:
    """The turns that have not ended, of a user, in copilot chats as well, or in threads of theirs."""
    return _unended("(t.user_id = %(user)s OR h.owner_id = %(user)s)", user=user)


def _unended(condition: str, **params: Any) -> list[StoredTurn]:
    """Queued ones first, so that none of them begins when another ends."""
    found = rows(
        f"""
        SELECT {TURN_COLUMNS}, NULL::bigint AS user_message_id, NULL::bigint AS assistant_message_id
          FROM chat_turns t LEFT JOIN chat_threads h ON h.id = t.thread_id
         WHERE {condition} AND t.status IN ('queued', {BUSY_SQL}) ORDER BY t.status = 'queued' DESC
        """,
        **params,
    )
    return [stored_turn(one) for one in found]


def queued_message(turn: StoredTurn) -> dict[str, Any] | None:
    """What the user wrote to make a queued turn: no row holds it yet. None for any other turn."""
    message: dict[str, Any] | None = turn.request.get("message") if turn.status == TurnStatus.QUEUED else None
    return message


LOCK = f"SELECT id, {PATIENCE} FROM chat_threads WHERE id = %(thread)s AND deleted_at IS NULL FOR NO KEY UPDATE"
LOCK_WRITABLE = f"SELECT id, {PATIENCE} FROM chat_threads WHERE id = %(thread)s AND {WRITABLE_THREAD} FOR NO KEY UPDATE"
# Epoch 0: to promote it raises it, so a cancel and a promotion at the same instant have one outcome.
ENQUEUE = f"""
WITH queue AS (
    SELECT EXISTS (SELECT FROM chat_turns WHERE thread_id = %(thread)s AND status IN ({BUSY_SQL})) AS busy,
           EXISTS (SELECT FROM chat_turns WHERE thread_id = %(thread)s AND turn_id = %(turn_id)s) AS known,
           (SELECT count(*) FROM chat_turns WHERE thread_id = %(thread)s AND status = 'queued') AS length
), t AS (
    INSERT INTO chat_turns (thread_id, user_id, turn_id, request, trigger, fingerprint, status, epoch, model)
    SELECT %(thread)s, %(scope_user)s, %(turn_id)s, %(request)s::jsonb, %(trigger)s, %(fingerprint)s, 'queued', 0,
           {MODEL.format(thread="%(thread)s")}
      FROM queue WHERE (busy OR length > 0) AND NOT known AND length < %(most)s
    RETURNING *, pg_notify('{THREAD_CHANNEL}', thread_id::text)
)
SELECT {TURN_COLUMNS}, NULL::bigint AS user_message_id, NULL::bigint AS assistant_message_id
  FROM queue LEFT JOIN t ON true
 WHERE (queue.busy OR queue.length > 0) AND NOT queue.known
"""
# Who stopped a turn in order to be heard is heard first.
NEXT = "(request ? 'first') DESC, id"
NEXT_ASKER = f"""
SELECT user_id FROM chat_turns WHERE thread_id = %(thread)s AND status = 'queued' ORDER BY {NEXT} LIMIT 1
"""
PROMOTE = f"""
WITH turn AS (
    UPDATE chat_turns
       SET status = 'streaming', epoch = epoch + 1, owner = %(owner)s,
           heartbeat_at = clock_timestamp(), started_at = clock_timestamp()
     WHERE id = (SELECT id FROM chat_turns WHERE thread_id = %(thread)s AND status = 'queued' ORDER BY {NEXT} LIMIT 1)
       AND NOT EXISTS (SELECT FROM chat_turns WHERE thread_id = %(thread)s AND status IN ({BUSY_SQL})) {{within}}
    RETURNING *, pg_notify('{THREAD_CHANNEL}', thread_id::text)
){{quota}}, {
    MESSAGES.format(
        has_user_message="turn.request ? 'message'",
        user_parts="turn.request -> 'message' -> 'parts'",
        client_id="turn.request -> 'message' ->> 'client_id'",
        title="coalesce((SELECT request ->> 'title' FROM turn), '')",
        **FOLLOWS,
    )
}
SELECT {TURN_COLUMNS},
       coalesce((SELECT id FROM message WHERE role = 'user'), {message_id("user")}) AS user_message_id,
       (SELECT id FROM message WHERE role = 'assistant') AS assistant_message_id
  FROM turn t
"""
