"""Reading the end of a long history, and adding to it: the store's functions against raw SQL, long against short."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import orjson

from benchmarks.history_steps import History
from benchmarks.report import Row

SHORT, LONG, PAGE = 100, 10_000, 50

THREAD = """
WITH thread AS (
    INSERT INTO chat_threads (id, owner_id, title) VALUES (gen_random_uuid(), {user}, 'long') RETURNING id
)
INSERT INTO chat_messages (thread_id, turn_id, role, parts)
SELECT thread.id, (n / 2)::text, CASE n % 2 WHEN 0 THEN 'user' ELSE 'assistant' END,
       jsonb_build_array(jsonb_build_object('type', 'text', 'text', repeat(md5(n::text) || ' ', 30)))
  FROM thread, generate_series(0, {length} - 1) n
RETURNING thread_id
"""
RAW_THREAD = """
SELECT id, turn_id, role, parts::text, metadata::text, client_id, created_at FROM chat_messages
 WHERE thread_id = %s AND is_current AND deleted_at IS NULL ORDER BY id DESC LIMIT 50
"""
CHAT = """
INSERT INTO copilot_chats (user_id, title, messages)
SELECT {user}, 'long', jsonb_agg(jsonb_build_object(
           'id', 'm' || n, 'role', CASE n % 2 WHEN 0 THEN 'user' ELSE 'assistant' END,
           'timestamp', '2026-05-01T10:00:00.000Z', 'content', repeat(md5(n::text) || ' ', 30)) ORDER BY n)
  FROM generate_series(0, {length} - 1) n
RETURNING id
"""
RAW_CHAT = """
SELECT message_id, content::text FROM copilot_chat_messages
 WHERE chat_id = %s AND deleted_at IS NULL ORDER BY seq DESC LIMIT 50
"""


def rows(history: History, *, quick: bool) -> Iterator[Row]:
    """Store functions in this process against statements on a connection without Django; JSON is made of both."""
    # Django is set up by now.
    from django.conf import settings

    from chat.models import ReconcileMode
    from chat.store.message_pages import read_messages
    from chat.store.mirror import append
    from chat.store.reconcile import reconcile
    from chat.store.reconcile_range import chats_by_id
    from chat.store.scope import Scope
    from chat.store.transcript import read_transcript

    settings.COPILOT_MESSAGES_PHASE = "mirror_reads"
    asker = Scope(history.user)
    repeat = 5 if quick else 300
    threads = {length: _made(history, THREAD, length) for length in (LONG, SHORT)}
    chats = {length: _made(history, CHAT, length) for length in (LONG, SHORT)}
    for _ in reconcile(chats_by_id(list(chats.values())), ReconcileMode.INSERT):
        pass
    history.connection.execute("VACUUM ANALYZE chat_threads, chat_messages, copilot_chats, copilot_chat_messages")
    for length, thread in threads.items():
        read: Callable[[], object] = partial(_thread, read_messages, asker, thread)
        yield _read(history, f"a thread of {length:,} messages", read, RAW_THREAD, thread, repeat)
    for length, chat in chats.items():
        read = partial(_chat, read_transcript, asker, chat)
        yield _read(history, f"a copilot chat of {length:,} messages", read, RAW_CHAT, chat, repeat)

    def appending(length: int) -> Callable[[], object]:
        place = length

        def add() -> None:
            nonlocal place
            element = {"id": f"new{place}", "role": "user", "content": "words " * 150}
            append(chats[length], [element], place=place, model="large-2", stream_id="stream")
            place += 1

        return add

    long, short = _alternated(appending(LONG), appending(SHORT), repeat=repeat)
    yield Row(
        f"append to the mirror of a chat of {LONG:,} messages, against {SHORT}",
        long,
        "ms",
        short,
        "ratio",
        at_most=1.5,
        note="flat in the length of the chat; each one a commit",
    )


def _thread(read: Callable[..., Any], asker: object, thread: uuid.UUID) -> bytes:
    names = ("id", "turn_id", "role", "parts", "metadata", "client_id", "created_at", "usage")
    return orjson.dumps([{name: getattr(one, name) for name in names} for one in read(asker, thread, limit=PAGE)])


def _chat(read: Callable[..., Any], asker: object, chat: uuid.UUID) -> bytes:
    return orjson.dumps(
        [{"id": one.message_id, "content": orjson.Fragment(one.content)} for one in read(asker, chat, limit=PAGE)]
    )


def _read(history: History, what: str, read: Callable[[], object], barest: str, key: uuid.UUID, repeat: int) -> Row:
    """Against the same statement, and in the note against the barest one that finds the messages."""
    from django.test.utils import CaptureQueriesContext

    from chat.store.sql import connection

    with CaptureQueriesContext(connection()) as queries:
        read()
    same = queries[0]["sql"].replace("%", "%%")

    def raw(statement: str, *values: object) -> bytes:
        found = history.connection.execute(statement, values, prepare=False).fetchall()
        return orjson.dumps([[_fragment(value) for value in one] for one in reversed(found)])

    ours, theirs, least = _alternated(read, partial(raw, same), partial(raw, barest, key), repeat=repeat)
    return Row(
        f"last {PAGE} of {what}, as JSON",
        ours,
        "ms",
        theirs,
        "ratio",
        at_most=1.5,
        note=f"against its statement without Django; x {ours / least:.2f} of the barest one that finds the messages "
        f"({least:.2f} ms), which asks neither who may see them nor what they cost",
    )


def _made(history: History, statement: str, length: int) -> uuid.UUID:
    filled = statement.format(user=history.user, length=length)
    found = history.connection.execute(filled).fetchone()
    assert found is not None
    key: uuid.UUID = found[0]
    return key


def _alternated(*works: Callable[[], object], repeat: int) -> list[float]:
    """Milliseconds of each, medians; what disturbs one disturbs the others."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeat):
        for taken, work in zip(times, works, strict=True):
            begun = time.perf_counter()
            work()
            taken.append((time.perf_counter() - begun) * 1000)
    return [median(taken) for taken in times]


def _fragment(value: Any) -> Any:
    return orjson.Fragment(value) if isinstance(value, str) and value[:1] in "[{" else value
