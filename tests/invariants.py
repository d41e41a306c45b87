"""What must hold of the database after any test, whatever it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import connection

from chat.protocol import sse
from chat.protocol.fold import AssistantContentBuilder

Ask = Callable[[str], Sequence[tuple[Any, ...]]]

BROKEN = {
    "a turn with two rows of one role": """
        SELECT thread_id, turn_id, role, count(*) FROM chat_messages
         WHERE turn_id IS NOT NULL GROUP BY 1, 2, 3 HAVING count(*) > 1""",
    "a thread with two busy turns": """
        SELECT thread_id, count(*) FROM chat_turns
         WHERE status IN ('streaming', 'awaiting_approval') GROUP BY 1 HAVING count(*) > 1""",
    "an ended turn without exactly one usage row": """
        SELECT t.id, count(u.id) FROM chat_turns t LEFT JOIN token_usage u ON u.turn_id = t.id
         WHERE t.status IN ('completed', 'stopped', 'interrupted', 'failed') GROUP BY 1 HAVING count(u.id) <> 1""",
    "a turn without its shell": """
        SELECT t.id FROM chat_turns t WHERE t.thread_id IS NOT NULL AND t.started_at IS NOT NULL AND NOT EXISTS (
            SELECT FROM chat_messages m
             WHERE m.thread_id = t.thread_id AND m.turn_id = t.turn_id AND m.role = 'assistant')""",
    "an ended turn without an end": """
        SELECT id FROM chat_turns
         WHERE status IN ('completed', 'stopped', 'interrupted', 'failed') AND finished_at IS NULL""",
    "an answer that stands before its question": """
        SELECT a.id FROM chat_messages a JOIN chat_messages u USING (thread_id, turn_id)
         WHERE a.role = 'assistant' AND u.role = 'user' AND a.id < u.id""",
}


# The turns, each with its answer and its log; {condition} chooses among them.
TURNS = """
    SELECT t.id, h.client_id, t.turn_id, t.status, t.last_seq, m.id, m.parts::text, m.metadata::text, log.firsts,
           log.lasts, log.chunks
      FROM chat_turns t
      JOIN chat_threads h ON h.id = t.thread_id
      JOIN chat_messages m ON m.thread_id = t.thread_id AND m.turn_id = t.turn_id AND m.role = 'assistant'
      LEFT JOIN LATERAL (
            SELECT array_agg(e.first_seq ORDER BY e.first_seq) AS firsts,
                   array_agg(e.last_seq ORDER BY e.first_seq) AS lasts,
                   string_agg(e.chunks, chr(10) ORDER BY e.first_seq) AS chunks
              FROM chat_stream_events e WHERE e.turn_id = t.id) log ON true
     WHERE {condition} ORDER BY t.id"""


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn as the database holds it."""

    pk: int
    thread: str
    turn_id: str
    status: str
    log: list[bytes]
    parts: list[dict[str, Any]]

    @property
    def stream(self) -> bytes:
        """Byte for byte what a reader of the whole turn gets."""
        frames = [sse.frame(chunk, f"{self.pk}-{seq}") for seq, chunk in enumerate(self.log, 1)]
        return b"".join(frames) + sse.DONE

    @property
    def text(self) -> str:
        return "".join(part["text"] for part in self.parts if part["type"] == "text")


def ask_django(query: str) -> Sequence[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def assert_invariants(ask: Ask = ask_django) -> None:
    """Raises AssertionError that names the broken invariant and the rows that break it."""
    for name, query in BROKEN.items():
        rows = ask(f"{query} LIMIT 5")
        assert not rows, f"{name}: {rows}"


def assert_database_is_sound(ask: Ask = ask_django, condition: str = "true") -> list[EndedTurn]:
    """The invariants hold, and each turn (that the SQL ``condition`` on ``t`` and ``h`` chooses) has ended: its log
    has no gap, folds to the stored parts and metadata, and ends where the turn says. Returns these turns.
    """
    assert_invariants(ask)
    return [_ended(*one) for one in ask(TURNS.format(condition=condition))]


def _ended(
    pk: int,
    thread: str,
    turn_id: str,
    status: str,
    last_seq: int,
    message: int,
    parts: str,
    metadata: str,
    firsts: list[int],
    lasts: list[int],
    chunks: str,
) -> EndedTurn:
    what = f"turn {pk} ({turn_id}, {status})"
    assert status in ("completed", "stopped", "interrupted", "failed"), what
    log = chunks.encode().split(b"\n")
    assert firsts == [1, *(last + 1 for last in lasts[:-1])], f"{what}: a gap or an overlap in the log"
    assert lasts[-1] == len(log) == last_seq, f"{what}: the log does not end where the turn says"
    builder = AssistantContentBuilder()
    for chunk in map(orjson.loads, log):
        builder.apply(chunk)
    stored = orjson.loads(parts), orjson.loads(metadata)
    assert (builder.snapshot(), builder.metadata) == stored, f"{what}: fold(log) is not what is stored"
    assert stored[1]["status"] == status, what
    assert orjson.loads(log[0])["messageId"] == str(message), what
    return EndedTurn(pk, thread, turn_id, status, log, stored[0])
