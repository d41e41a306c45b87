"""Everything that a user has left here, taken away: in short transactions, which may be run again after a kill."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.contrib.auth import get_user_model

from chat.store.attachments import sweep_attachments
from chat.store.messages import BUSY_SQL
from chat.store.sql import Row, connection, one_transaction, row, rows

BATCH = 50


def hide_threads(user: Any) -> None:
    """Put all threads of a user into the trash, so that their live turns can be ended like those of any such thread."""
    rows("UPDATE chat_threads SET deleted_at = clock_timestamp() WHERE owner_id = %(user)s", user=user)


def erase(user: Any) -> dict[str, int]:
    """What a user said, made and uploaded, here and in the threads of others, is gone; the report counts it. Usage
    stays and is nobody's any more, and so do the views of transcripts that the user had as staff.

    A run that is still live afterwards, in what was the user's, finds no turn of its own and writes nothing. What has
    not ended in the threads of others is left as it is, and ``is_left`` tells: its end would write what it knows.
    """
    report: Counter[str] = Counter()
    _run(ACCESS, report, user=user)
    for statement in (THREADS, CHATS):
        while _run(statement, report, user=user, batch=BATCH)["erased"]:
            pass
    with one_transaction():
        # Titles first: they are known by what was said.
        for statement in (TITLES_ELSEWHERE, TURNS_ELSEWHERE, ELSEWHERE, DECISIONS_ELSEWHERE, ANONYMOUS):
            _run(statement, report, user=user)
    sweep_attachments()
    return {name: count for name, count in sorted(report.items()) if name != "erased"}


def delete_account(user: Any) -> None:
    """The user themselves, with whatever of the host's goes with them."""
    get_user_model()._default_manager.using(connection().alias).get(pk=user).delete()


def is_left(user: Any) -> bool:
    """Whether rows of the user's have come since, who was still writing, or files that the storage did not give up."""
    found = row(
        """
        SELECT EXISTS (SELECT FROM chat_threads WHERE owner_id = %(user)s)
            OR EXISTS (SELECT FROM copilot_chats WHERE user_id = %(user)s)
            OR EXISTS (SELECT FROM chat_messages WHERE author_id = %(user)s)
            OR EXISTS (SELECT FROM chat_turns WHERE user_id = %(user)s)
            OR EXISTS (SELECT FROM chat_attachments WHERE owner_id = %(user)s) AS is_left
        """,
        user=user,
    )
    return bool(found and found["is_left"])


def _run(statement: str, report: Counter[str], **params: Any) -> Row:
    counts = row(statement, **params)
    assert counts is not None
    report.update(counts)
    return counts


# Tokens first: what they could still write would be left behind. Files lose their names; their bytes go last.
ACCESS = """
WITH tokens AS (DELETE FROM chat_api_tokens WHERE user_id = %(user)s RETURNING id),
quotas AS (DELETE FROM chat_quotas WHERE user_id = %(user)s RETURNING user_id),
opinions AS (DELETE FROM chat_feedback WHERE user_id = %(user)s RETURNING id),
links AS (
    DELETE FROM chat_shares WHERE owner_id = %(user)s OR thread_id IN (
        SELECT thread_id FROM chat_messages WHERE author_id = %(user)s) RETURNING id
), files AS (
    UPDATE chat_attachments SET deleted_at = coalesce(deleted_at, clock_timestamp()), filename = ''
     WHERE owner_id = %(user)s RETURNING size
)
SELECT (SELECT count(*) FROM tokens) AS tokens, (SELECT count(*) FROM quotas) AS quota_counters,
       (SELECT count(*) FROM opinions) AS feedback, (SELECT count(*) FROM links) AS shares,
       (SELECT count(*) FROM files) AS attachments,
       (SELECT coalesce(sum(size), 0)::bigint FROM files) AS attachment_bytes
"""
TURNS_AND_LOGS = """
       (SELECT count(*) FROM chat_turns WHERE {key} IN (SELECT id FROM doomed)) AS turns,
       (SELECT count(*) FROM chat_stream_events e JOIN chat_turns t ON t.id = e.turn_id
         WHERE t.{key} IN (SELECT id FROM doomed)) AS log_rows
"""
# Messages, turns, logs and search entries go with their thread, elements and mirror with their chat: the database's
# foreign keys see to it. They are counted before.
THREADS = f"""
WITH doomed AS (
    SELECT id FROM chat_threads WHERE owner_id = %(user)s LIMIT %(batch)s
), files AS (
    UPDATE chat_attachments SET deleted_at = coalesce(deleted_at, clock_timestamp()), filename = ''
     WHERE thread_id IN (SELECT id FROM doomed)
), counted AS MATERIALIZED (
    SELECT (SELECT count(*) FROM chat_messages WHERE thread_id IN (SELECT id FROM doomed)) AS messages,
           (SELECT count(*) FROM chat_search WHERE thread_id IN (SELECT id FROM doomed)) AS search_entries,
{TURNS_AND_LOGS.format(key="thread_id")}), gone AS (
    DELETE FROM chat_threads WHERE id IN (SELECT id FROM doomed) RETURNING id
)
SELECT (SELECT count(*) FROM gone) AS erased, (SELECT count(*) FROM gone) AS threads, counted.* FROM counted
"""
CHATS = f"""
WITH doomed AS (
    SELECT id, messages FROM copilot_chats WHERE user_id = %(user)s LIMIT %(batch)s
), counted AS MATERIALIZED (
    SELECT (SELECT coalesce(sum(CASE jsonb_typeof(messages) WHEN 'array' THEN jsonb_array_length(messages) END), 0)
              FROM doomed)::bigint AS array_elements,
           (SELECT count(*) FROM copilot_chat_messages WHERE chat_id IN (SELECT id FROM doomed)) AS mirror_rows,
{TURNS_AND_LOGS.format(key="copilot_chat_id")}), gone AS (
    DELETE FROM copilot_chats WHERE id IN (SELECT id FROM doomed) RETURNING id
)
SELECT (SELECT count(*) FROM gone) AS erased, (SELECT count(*) FROM gone) AS copilot_chats, counted.* FROM counted
"""
# What was said in the threads of others: the message stays as an empty place, so that what follows it still does.
ELSEWHERE = """
WITH erased AS (
    UPDATE chat_messages m
       SET parts = '[{"type": "text", "text": "[erased]"}]', metadata = '{}', client_id = NULL, author_id = NULL,
           turn_id = CASE WHEN turn_id LIKE 'erased-%%' THEN turn_id END, updated_at = clock_timestamp()
     WHERE author_id = %(user)s AND NOT EXISTS (
               SELECT FROM chat_turns t WHERE t.thread_id = m.thread_id AND t.turn_id = m.turn_id
                  AND t.user_id = %(user)s)
    RETURNING id
)
SELECT count(*) AS messages_elsewhere FROM erased
"""
# A thread without a name got the beginning of its first message for one: see ``turns.titles``. The next one names it.
TITLES_ELSEWHERE = r"""
WITH erased AS (
    UPDATE chat_threads h SET title = ''
      FROM chat_messages m
     CROSS JOIN LATERAL btrim(regexp_replace(chat_search_text(m.parts), '\s+', ' ', 'g')) AS said
     WHERE m.author_id = %(user)s AND m.thread_id = h.id AND h.title <> ''
       AND (said = h.title OR (right(h.title, 1) = '…' AND starts_with(said, left(h.title, -1))))
    RETURNING h.id
)
SELECT count(*) AS titles_elsewhere FROM erased
"""
# A turn's id may be the client's own words: it is renamed, and its messages with it. So it stands in the log, as does a
# title: an ended turn's is not needed any more.
TURNS_ELSEWHERE = f"""
WITH theirs AS MATERIALIZED (
    SELECT id, thread_id, turn_id FROM chat_turns WHERE user_id = %(user)s AND status NOT IN ('queued', {BUSY_SQL})
       FOR UPDATE
), messages AS (
    UPDATE chat_messages m SET turn_id = 'erased-' || theirs.id, metadata = m.metadata - 'turn_id' FROM theirs
     WHERE m.thread_id = theirs.thread_id AND m.turn_id = theirs.turn_id
), logs AS (
    DELETE FROM chat_stream_events WHERE turn_id IN (SELECT id FROM theirs)
), erased AS (
    UPDATE chat_turns t SET request = '{{}}', user_id = NULL, fingerprint = '', turn_id = 'erased-' || t.id
      FROM theirs WHERE t.id = theirs.id RETURNING t.id
)
SELECT count(*) AS turns_elsewhere FROM erased
"""
# What was written with decisions on the calls of others' turns. A turn that still waits would run what it was allowed
# with the input that the model wrote, which nobody has approved: it is denied that. Whoever was to answer is not heard.
DECISIONS_ELSEWHERE = """
WITH erased AS (
    UPDATE chat_tool_approvals a
       SET decided_by_id = NULL, reason = '', changed_input = NULL, output = NULL,
           error_text = CASE WHEN status = 'answered' THEN '[erased]' ELSE '' END,
           status = CASE WHEN status = 'approved' AND changed_input IS NOT NULL AND EXISTS (
                             SELECT FROM chat_turns t WHERE t.id = a.turn_id AND t.status = 'awaiting_approval')
                         THEN 'denied' ELSE status END
     WHERE decided_by_id = %(user)s RETURNING id
)
SELECT count(*) AS decisions_elsewhere FROM erased
"""
ANONYMOUS = """
WITH kept AS (UPDATE token_usage SET user_id = NULL WHERE user_id = %(user)s RETURNING id),
views AS (UPDATE chat_transcript_views SET viewer_id = NULL WHERE viewer_id = %(user)s RETURNING id)
SELECT (SELECT count(*) FROM kept) AS usage_kept, (SELECT count(*) FROM views) AS views_kept
"""
