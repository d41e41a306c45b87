"""The one place that changes a copilot chat's history: the array, and beside it the mirror, under the chat's row lock.

In the phases ``jsonb`` and ``dual`` the array is the truth, in ``mirror_only`` the mirror; ``mirror_reads`` keeps both
right or fails. Every change raises ``messages_version``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chat.conf import Phase, phase, reads_mirror
from chat.errors import ChatBusy, ChatNotFound, MessageNotFound, StaleMessages
from chat.store import mirror
from chat.store.elements import value_of
from chat.store.messages import BUSY_SQL
from chat.store.scope import Scope
from chat.store.sql import PATIENCE, encoded, one_transaction, row, rows

Element = dict[str, Any]

FORK_PREFIX = "Fork | "
IMPORT_PREFIX = "[Import] "
# By this key an answer of ours names its turn, so that it is never taken for another turn's.
TURN_KEY = "turnId"


@dataclass(frozen=True, slots=True)
class LockedChat:
    """A chat whose row this transaction holds."""

    id: uuid.UUID
    user_id: int
    title: str
    model: str
    messages_version: int
    active_stream_id: str | None


def lock_chat(scope: Scope | None, chat_id: uuid.UUID) -> LockedChat:
    """Take the chat's row lock until the transaction ends; everybody who writes a chat begins with it. Without a scope
    for the run of a turn, which asks in nobody's name. Raises ChatNotFound.
    """
    found = row(
        f"""
        SELECT id, user_id, title, model, messages_version, active_stream_id, {PATIENCE} FROM copilot_chats
         WHERE id = %(chat)s AND (%(user)s::text IS NULL OR user_id::text = %(user)s::text) FOR NO KEY UPDATE
        """,
        chat=chat_id,
        user=None if scope is None else str(scope.user_id),
    )
    if found is None:
        raise ChatNotFound
    del found["set_config"]
    return LockedChat(**found)


def write_user_message(chat: LockedChat, element: Element, *, stream_id: str) -> bool:
    """Append a user message that begins a turn, unless the chat has one of that id, and set the stream marker. Returns
    whether it was appended.

    Race: a legacy client's append of the same message. Whoever holds the chat's lock first writes it, and its text
    stays.
    """
    place = _append(chat, element, marker=stream_id)
    appended = place is not None
    if place is None:
        _set_marker(chat, stream_id)
        there = None if phase() == Phase.MIRROR_ONLY else row(IN_ARRAY, chat=chat.id, id=element["id"])
        if there is None:
            return False
        element, place = value_of(there["content"]), there["idx"]  # it may be missing in the mirror
    _mirror(chat, element, place, stream_id=stream_id)
    return appended


def write_answer(
    chat: LockedChat,
    *,
    turn_id: str,
    answer: Element | None,
    tokens_in: int | None = None,
    tokens_out: int | None = None,
) -> bool:
    """The terminal state of a turn: append its answer, once, and clear the stream marker if it is this turn's. Returns
    whether the answer was appended.

    An answer is there if an assistant message stands behind the turn's user message, unless it names another turn. One
    that names none may stand behind a steering message, as long as the marker is this turn's; else an older program has
    asked that, and it is the answer to it. When an older program has begun a newer turn meanwhile, whose
    message the marker names, the answer goes in front of that message: both stay last for their own rule.
    """
    ours = chat.active_stream_id == turn_id
    marker = None if ours else chat.active_stream_id
    if answer is None or _answered(chat, turn_id, answer["id"], ours=ours):
        if ours:
            _set_marker(chat, None)
        return False
    answer = {**answer, TURN_KEY: turn_id}
    told: dict[str, Any] = {"stream_id": turn_id, "tokens_in": tokens_in, "tokens_out": tokens_out}
    if marker is not None and _insert_before(chat, answer, marker):
        told |= {"model": chat.model, "before": marker}
        mirror.mirrored(chat.id, lambda: mirror.insert(chat.id, answer, **told))
        return True
    place = _append(chat, answer, marker=marker)
    if place is not None:
        _mirror(chat, answer, place, **told)
    elif ours:  # an older program has appended it to the array, where ``mirror_reads`` does not look
        _set_marker(chat, None)
    return place is not None


def replace_messages(
    scope: Scope, chat_id: uuid.UUID, elements: Sequence[Element], *, version: int, config: Any = None
) -> int:
    """Replace the whole history, as it was read at ``version``; returns the new version.

    Raises ChatNotFound; StaleMessages when the history has changed since, and ChatBusy while a turn is live, whose
    messages the caller cannot know: nothing is written then.
    """
    with one_transaction():
        chat = lock_chat(scope, chat_id)
        busy = row(
            f"SELECT id, turn_id, status FROM chat_turns WHERE copilot_chat_id = %(chat)s AND status IN ({BUSY_SQL})",
            chat=chat_id,
        )
        if busy is not None:
            raise chat_busy(busy)
        if chat.messages_version != version:
            raise StaleMessages(messages_version=chat.messages_version)
        only = phase() == Phase.MIRROR_ONLY
        array = "array_behind = true" if only else "array_behind = false, messages = %(messages)s::jsonb"
        rows(
            f"""
            UPDATE copilot_chats
               SET {array}, messages_version = messages_version + 1, updated_at = clock_timestamp(),
                   config = coalesce(%(config)s::jsonb, config)
             WHERE id = %(chat)s
            """,
            chat=chat_id,
            messages=encoded(list(elements)),
            config=None if config is None else encoded(config),
        )
        mirror.mirrored(chat_id, lambda: mirror.replace(chat_id, elements, model=chat.model))
    return version + 1


def fork_chat(scope: Scope, chat_id: uuid.UUID, up_to: str) -> uuid.UUID:
    """A new chat of the asker with the history up to and with the message ``up_to``: ids, times and model are kept, no
    stream is live in it. Raises ChatNotFound, MessageNotFound.
    """
    with one_transaction():
        chat = lock_chat(scope, chat_id)
        only = phase() == Phase.MIRROR_ONLY
        made = row(
            FORK_OF_MIRROR if reads_mirror() else FORK_OF_ARRAY,
            chat=chat_id,
            up_to=up_to,
            title=FORK_PREFIX + chat.title.removeprefix(FORK_PREFIX),
            only=only,
        )
        if made is None:
            raise MessageNotFound
        new: uuid.UUID = made["id"]
        if only:
            mirror.mirrored(new, lambda: rows(FORK_ROWS, chat=chat_id, new=new, up_to=up_to))
        else:
            mirror.mirrored(new, lambda: mirror.copy_array(new))
    return new


def import_chat(user_id: int, *, title: str, model: str, elements: Sequence[Element], config: Any = None) -> uuid.UUID:
    """A new chat of a user out of another system's array."""
    with one_transaction():
        only = phase() == Phase.MIRROR_ONLY
        made = row(
            """
            INSERT INTO copilot_chats (user_id, title, model, messages, array_behind, config)
            VALUES (%(user)s, %(title)s, %(model)s, %(messages)s::jsonb, %(behind)s, %(config)s::jsonb) RETURNING id
            """,
            user=user_id,
            title=IMPORT_PREFIX + title.removeprefix(IMPORT_PREFIX),
            model=model,
            messages="[]" if only else encoded(list(elements)),
            behind=only and bool(elements),
            config=encoded(config or {}),
        )
        assert made is not None
        new: uuid.UUID = made["id"]
        if only:
            mirror.mirrored(new, lambda: mirror.append(new, elements, model=model))
        else:
            mirror.mirrored(new, lambda: mirror.copy_array(new))
    return new


def chat_busy(turn: dict[str, Any]) -> ChatBusy:
    """What somebody is told who has to wait for this turn: where its stream is."""
    return ChatBusy(
        turn=turn["id"],
        turn_id=turn["turn_id"],
        stream_id=turn["turn_id"],
        status=turn["status"],
        cursor=f"{turn['id']}-0",
    )


def _mirror(chat: LockedChat, element: Element, place: int, **fields: Any) -> None:
    mirror.mirrored(chat.id, lambda: mirror.append(chat.id, [element], place=place, model=chat.model, **fields))


def _append(chat: LockedChat, element: Element, *, marker: str | None) -> int | None:
    """Append to the truth and set the stream marker; returns the element's index (0 where there is no array to have
    one), None where the chat has a message of that id: nothing was written then.
    """
    number = element["id"] if NUMBER.fullmatch(element["id"]) else None
    found = row(APPEND[phase()], chat=chat.id, element=encoded(element), id=element["id"], marker=marker, number=number)
    return None if found is None else found["place"]


def _insert_before(chat: LockedChat, element: Element, before: str) -> bool:
    """Put an element in front of the message ``before``, if that is there."""
    if phase() == Phase.MIRROR_ONLY:
        found = row(TOUCH.format(when=f"EXISTS ({MIRROR_ROW})"), chat=chat.id, id=before, marker=before)
    else:
        found = row(INSERT_BEFORE, chat=chat.id, element=encoded(element), id=before, marker=before)
    return found is not None


def _answered(chat: LockedChat, turn_id: str, answer_id: str, *, ours: bool) -> bool:
    source = MIRROR_HISTORY if reads_mirror() else ARRAY_HISTORY
    found = row(
        ANSWERED.format(source=source), chat=chat.id, turn_id=turn_id, answer_id=answer_id, key=TURN_KEY, ours=ours
    )
    return bool(found and found["answered"])


def _set_marker(chat: LockedChat, stream_id: str | None) -> None:
    rows(
        """
        UPDATE copilot_chats SET active_stream_id = %(stream_id)s, updated_at = clock_timestamp() WHERE id = %(chat)s
        """,
        chat=chat.id,
        stream_id=stream_id,
    )


MIRROR_ROW = "SELECT FROM copilot_chat_messages m WHERE m.chat_id = copilot_chats.id AND m.message_id = %(id)s"
MARKED = """messages_version = messages_version + 1, updated_at = clock_timestamp(), active_stream_id = %(marker)s"""
# An id that an older program has written as a number is the same id.
NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)
# Guarded: two writers of the same id leave one element, and no element is lost to a read that was older than a write.
# What is no array and not empty stays as an element.
TO_ARRAY = f"""
UPDATE copilot_chats
   SET messages = CASE WHEN jsonb_typeof(messages) = 'array' THEN messages
                       WHEN messages IN ('null', '{{}}', '""') THEN '[]' ELSE jsonb_build_array(messages) END
                  || jsonb_build_array(%(element)s::jsonb), {MARKED}
 WHERE id = %(chat)s
   AND NOT (jsonb_typeof(messages) = 'array'
            AND (messages @> jsonb_build_array(jsonb_build_object('id', %(id)s::text))
                 OR messages @> jsonb_build_array(jsonb_build_object('id', %(number)s::bigint))))
"""
PLACE = "RETURNING jsonb_array_length(messages) - 1 AS place"
TOUCH = f"""
UPDATE copilot_chats SET {MARKED}, array_behind = true WHERE id = %(chat)s AND {{when}} RETURNING 0 AS place
"""
# Of an array that is behind, the mirror is asked as well: not where to write it is best effort, and may fail.
APPEND = {
    Phase.JSONB: TO_ARRAY + PLACE,
    Phase.DUAL: TO_ARRAY + PLACE,
    Phase.MIRROR_READS: f"{TO_ARRAY} AND NOT (array_behind AND EXISTS ({MIRROR_ROW})) {PLACE}",
    Phase.MIRROR_ONLY: TOUCH.format(when=f"NOT EXISTS ({MIRROR_ROW})"),
}
IN_ARRAY = """
    SELECT e.idx, e.content FROM copilot_chats o CROSS JOIN LATERAL copilot_elements(o.messages, o.created_at) e
     WHERE o.id = %(chat)s AND e.message_id = %(id)s ORDER BY e.idx LIMIT 1"""
INSERT_BEFORE = f"""
UPDATE copilot_chats c
   SET messages = jsonb_insert(c.messages, ARRAY[place.idx::text], %(element)s::jsonb), {MARKED}
  FROM ({IN_ARRAY}) AS place
 WHERE c.id = %(chat)s
RETURNING place.idx AS place
"""
ARRAY_HISTORY = """
    SELECT e.idx AS place, e.message_id, e.role, e.content
      FROM copilot_chats c CROSS JOIN LATERAL copilot_elements(c.messages, c.created_at) e WHERE c.id = %(chat)s"""
MIRROR_HISTORY = """
    SELECT seq AS place, message_id, role, content FROM copilot_chat_messages
     WHERE chat_id = %(chat)s AND deleted_at IS NULL"""
ANSWERED = """
WITH history AS ({source}), asked AS (SELECT min(place) AS place FROM history WHERE message_id = %(turn_id)s)
SELECT EXISTS (
    SELECT FROM history a CROSS JOIN asked
     WHERE a.message_id = %(answer_id)s
        OR (a.role = 'assistant' AND a.place > asked.place
            AND (a.content ->> %(key)s = %(turn_id)s
                 OR (a.content ->> %(key)s IS NULL
                     AND (%(ours)s OR NOT EXISTS (SELECT FROM history u WHERE u.role = 'user'
                                                     AND u.place > asked.place AND u.place < a.place)))))
) AS answered
"""
FORK = """
INSERT INTO copilot_chats (user_id, title, model, messages, array_behind, config)
SELECT c.user_id, %(title)s, c.model, {messages}, {behind}, c.config FROM copilot_chats c
 WHERE c.id = %(chat)s AND {known}
RETURNING id
"""
# Whole elements up to the first of that id, those that no row can hold as well.
FORK_OF_ARRAY = FORK.format(
    messages="""
       (SELECT jsonb_agg(e.content ORDER BY e.idx) FROM copilot_elements(c.messages, c.created_at) e
         WHERE e.idx <= (SELECT min(f.idx) FROM copilot_elements(c.messages, c.created_at) f
                          WHERE f.message_id = %(up_to)s))""",
    behind="false",
    known="""EXISTS (SELECT FROM copilot_elements(c.messages, c.created_at) f WHERE f.message_id = %(up_to)s)""",
)
# An array that lacks messages is no source, also where it is written again.
FORK_OF_MIRROR = FORK.format(
    messages="""
       CASE WHEN %(only)s THEN '[]' ELSE
       (SELECT jsonb_agg(m.content ORDER BY m.seq) FROM copilot_chat_messages m
         WHERE m.chat_id = c.id AND m.deleted_at IS NULL
           AND m.seq <= (SELECT f.seq FROM copilot_chat_messages f
                          WHERE f.chat_id = c.id AND f.message_id = %(up_to)s)) END""",
    behind="%(only)s",
    known="""EXISTS (SELECT FROM copilot_chat_messages m
                 WHERE m.chat_id = c.id AND m.message_id = %(up_to)s AND m.deleted_at IS NULL)""",
)
FORK_ROWS = """
INSERT INTO copilot_chat_messages (chat_id, message_id, seq, role, content, model, created_at)
SELECT %(new)s, m.message_id, row_number() OVER (ORDER BY m.seq) - 1, m.role, m.content, m.model, m.created_at
  FROM copilot_chat_messages m
 WHERE m.chat_id = %(chat)s AND m.deleted_at IS NULL
   AND m.seq <= (SELECT seq FROM copilot_chat_messages WHERE chat_id = %(chat)s AND message_id = %(up_to)s)
"""
