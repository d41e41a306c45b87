"""What people think of answers: one opinion a person and message, which may change."""

from __future__ import annotations

import uuid

from chat.errors import MessageNotFound
from chat.store.scope import VISIBLE_THREAD, Scope
from chat.store.sql import Row, row, rows
from chat.store.threads import read_thread

COLUMNS = "message_id, rating, comment, created_at, updated_at"
ANSWER = f"""
SELECT m.id FROM chat_messages m JOIN chat_threads ON chat_threads.id = m.thread_id
 WHERE m.id = %(message)s AND m.role = 'assistant' AND m.deleted_at IS NULL AND {VISIBLE_THREAD}
"""


def give_feedback(scope: Scope, message: int, rating: str, comment: str) -> Row:
    """The asker's opinion of an answer in a thread that they may see; it takes the place of an earlier one. Raises
    MessageNotFound.
    """
    given = row(
        f"""
        INSERT INTO chat_feedback (message_id, user_id, rating, comment)
        SELECT id, %(scope_user)s, %(rating)s, %(comment)s FROM ({ANSWER}) answer
        ON CONFLICT (message_id, user_id) DO UPDATE
           SET rating = EXCLUDED.rating, comment = EXCLUDED.comment, updated_at = clock_timestamp()
        RETURNING {COLUMNS}
        """,
        message=message,
        scope_user=scope.user_id,
        rating=rating,
        comment=comment,
    )
    if given is None:
        raise MessageNotFound
    return given


def take_feedback_back(scope: Scope, message: int) -> None:
    """Forget the asker's opinion, if there is one. Raises MessageNotFound for an answer they may not see."""
    values = {"message": message, "scope_user": scope.user_id}
    if row(ANSWER, **values) is None:
        raise MessageNotFound
    rows("DELETE FROM chat_feedback WHERE message_id = %(message)s AND user_id = %(scope_user)s", **values)


def feedback_in(scope: Scope, thread_id: uuid.UUID) -> list[Row]:
    """The asker's opinions of a thread's answers. Raises ThreadNotFound."""
    read_thread(scope, thread_id)
    return rows(
        f"""
        SELECT {COLUMNS} FROM chat_feedback
         WHERE user_id = %(scope_user)s AND message_id IN (
               SELECT id FROM chat_messages WHERE thread_id = %(thread)s AND deleted_at IS NULL) ORDER BY message_id
        """,
        scope_user=scope.user_id,
        thread=thread_id,
    )
