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
    "a conversation with two busy turns": """
        SELECT coalesce(thread_id, copilot_chat_id), count(*) FROM chat_turns
         WHERE status IN ('streaming', 'awaiting_approval') GROUP BY 1 HAVING count(*) > 1""",
    "a copilot chat whose marker names a turn that has ended": """
        SELECT c.id, c.active_stream_id FROM copilot_chats c
          JOIN chat_turns t ON t.copilot_chat_id = c.id AND t.turn_id = c.active_stream_id
         WHERE t.finished_at IS NOT NULL""",
    "a copilot turn with two messages of one role": """
        SELECT t.id, e.value ->> 'role', count(*) FROM chat_turns t JOIN copilot_chats c ON c.id = t.copilot_chat_id
         CROSS JOIN LATERAL jsonb_array_elements(c.messages) e
         WHERE t.turn_id IN (e.value ->> 'turnId', e.value ->> 'id') GROUP BY 1, 2 HAVING count(*) > 1""",
    "the same in the mirror": """
        SELECT t.id, m.role, count(*) FROM chat_turns t JOIN copilot_chat_messages m ON m.chat_id = t.copilot_chat_id
         WHERE t.turn_id IN (m.content ->> 'turnId', m.message_id) GROUP BY 1, 2 HAVING count(*) > 1""",
    "a usage row of another conversation": """
        SELECT u.id FROM token_usage u JOIN chat_turns t ON t.id = u.turn_id
         WHERE u.thread_id IS DISTINCT FROM t.thread_id OR u.copilot_chat_id IS DISTINCT FROM t.copilot_chat_id""",
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
LOG = """
      LEFT JOIN LATERAL (
            SELECT array_agg(e.first_seq ORDER BY e.first_seq) AS firsts,
                   array_agg(e.last_seq ORDER BY e.first_seq) AS lasts,
                   string_agg(e.chunks, chr(10) ORDER BY e.first_seq) AS chunks
              FROM chat_stream_events e WHERE e.turn_id = t.id) log ON true"""
TURNS = f"""
    SELECT t.id, h.client_id, t.turn_id, t.status, t.last_seq, m.id::text, m.parts::text, m.metadata::text,
           log.firsts, log.lasts, log.chunks
      FROM chat_turns t
      JOIN chat_threads h ON h.id = t.thread_id
      JOIN chat_messages m ON m.thread_id = t.thread_id AND m.turn_id = t.turn_id AND m.role = 'assistant'{LOG}
     WHERE {{condition}} ORDER BY t.id"""
# Their answers are elements, of the array and of the mirror; a turn that was cut off before it said a word has none.
COPILOT_TURNS = f"""
    SELECT t.id, h.client_id, t.turn_id, t.status, t.last_seq, a.content ->> 'id', (a.content -> 'parts')::text,
           (a.content -> 'metadata')::text, log.firsts, log.lasts, log.chunks
      FROM chat_turns t
      JOIN (SELECT id, id::text AS client_id, messages FROM copilot_chats) h ON h.id = t.copilot_chat_id
      LEFT JOIN LATERAL (
            SELECT content FROM jsonb_array_elements(h.messages) AS e (content)
             WHERE content ->> 'turnId' = t.turn_id
            UNION
            SELECT content FROM copilot_chat_messages m
             WHERE m.chat_id = h.id AND content ->> 'turnId' = t.turn_id) a ON true{LOG}
     WHERE {{condition}} ORDER BY t.id"""


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn as the database holds it; ``thread`` is the name of its conversation."""

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
    threads = [_ended(*one) for one in ask(TURNS.format(condition=condition))]
    chats = [_ended(*one) for one in ask(COPILOT_TURNS.format(condition=condition))]
    assert len({turn.pk for turn in chats}) == len(chats), "an answer that is not the same in the array and the mirror"
    return [*threads, *chats]


def _ended(
    pk: int,
    thread: str,
    turn_id: str,
    status: str,
    last_seq: int,
    message: str | None,
    parts: str | None,
    metadata: str | None,
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
    if parts is None or metadata is None:
        assert status != "completed", f"{what}: no answer"
        assert not builder.snapshot(), f"{what}: what was shown is not stored"
        return EndedTurn(pk, thread, turn_id, status, log, [])
    stored = orjson.loads(parts), orjson.loads(metadata)
    assert (builder.snapshot(), builder.metadata) == stored, f"{what}: fold(log) is not what is stored"
    assert stored[1]["status"] == status, what
    assert orjson.loads(log[0])["messageId"] == message, what
    return EndedTurn(pk, thread, turn_id, status, log, stored[0])
