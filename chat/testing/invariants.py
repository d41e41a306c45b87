"""What must hold of the database after any test, whatever it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import connection

from chat import conf
from chat.protocol import sse
from chat.protocol.chunks import Chunk, Part
from chat.protocol.fold import AssistantContentBuilder
from chat.testing.part_shapes import assert_valid_parts

Ask = Callable[[str], Sequence[tuple[Any, ...]]]
# As in chat.models, which needs settings; a database may be looked at without any.
ENDED = "('completed', 'stopped', 'interrupted', 'failed')"

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
    # A process renews its leases three times in their length, half a minute by default, and anybody ends what ran out.
    "a turn that nobody ends though its process has been silent for 45 s": """
        SELECT id, heartbeat_at FROM chat_turns
         WHERE status = 'streaming' AND heartbeat_at < clock_timestamp() - interval '45 s'""",
    "a usage row of another conversation": """
        SELECT u.id FROM token_usage u JOIN chat_turns t ON t.id = u.turn_id
         WHERE u.thread_id IS DISTINCT FROM t.thread_id OR u.copilot_chat_id IS DISTINCT FROM t.copilot_chat_id""",
    # An imported turn was run elsewhere: nobody sent it here, and it has said nothing here.
    "an ended turn without exactly one usage row": f"""
        SELECT t.id, count(u.id) FROM chat_turns t LEFT JOIN token_usage u ON u.turn_id = t.id
         WHERE t.status IN {ENDED} AND (t.fingerprint <> '' OR t.last_seq > 0)
         GROUP BY 1 HAVING count(u.id) <> 1""",
    "a turn without its shell": """
        SELECT t.id FROM chat_turns t WHERE t.thread_id IS NOT NULL AND t.started_at IS NOT NULL AND NOT EXISTS (
            SELECT FROM chat_messages m
             WHERE m.thread_id = t.thread_id AND m.turn_id = t.turn_id AND m.role = 'assistant')""",
    "an ended turn without an end": f"SELECT id FROM chat_turns WHERE status IN {ENDED} AND finished_at IS NULL",
    "a current message behind one that was replaced": """
        SELECT m.id FROM chat_messages m JOIN chat_messages before ON before.id = m.parent_id
         WHERE m.is_current AND NOT before.is_current AND m.deleted_at IS NULL AND before.deleted_at IS NULL""",
    "an answer that stands before its question": """
        SELECT a.id FROM chat_messages a JOIN chat_messages u USING (thread_id, turn_id)
         WHERE a.role = 'assistant' AND u.role = 'user' AND a.id < u.id""",
}


# {condition} chooses among the turns. Those that wait in a queue have no rows to be joined to.
UNENDED = f"""
    SELECT t.id, t.turn_id, t.status
      FROM chat_turns t
      JOIN (SELECT id, client_id FROM chat_threads UNION ALL SELECT id, id::text FROM copilot_chats) h
           ON h.id = coalesce(t.thread_id, t.copilot_chat_id)
     WHERE t.status NOT IN {ENDED} AND ({{condition}}) ORDER BY t.id"""
# The turns, each with its answer and its log, if that is there.
LOG = """
      LEFT JOIN LATERAL (
            SELECT array_agg(e.first_seq ORDER BY e.first_seq) AS firsts,
                   array_agg(e.last_seq ORDER BY e.first_seq) AS lasts,
                   string_agg(e.chunks, chr(10) ORDER BY e.first_seq) AS chunks
              FROM chat_stream_events e WHERE e.turn_id = t.id) log ON true"""
AGE = "extract(epoch FROM clock_timestamp() - t.finished_at)"
TURNS = f"""
    SELECT t.id, h.client_id, t.turn_id, t.status, t.last_seq, m.id::text, m.parts::text, m.metadata::text,
           log.firsts, log.lasts, log.chunks, {AGE}
      FROM chat_turns t
      JOIN chat_threads h ON h.id = t.thread_id
      JOIN chat_messages m ON m.thread_id = t.thread_id AND m.turn_id = t.turn_id AND m.role = 'assistant'{LOG}
     WHERE {{condition}} ORDER BY t.id"""
# Their answers are elements, of the array and of the mirror; a turn that was cut off before it said a word has none.
COPILOT_TURNS = f"""
    SELECT t.id, h.client_id, t.turn_id, t.status, t.last_seq, a.content ->> 'id', (a.content -> 'parts')::text,
           (a.content -> 'metadata')::text, log.firsts, log.lasts, log.chunks, {AGE}
      FROM chat_turns t
      JOIN (SELECT id, id::text AS client_id, messages FROM copilot_chats) h ON h.id = t.copilot_chat_id
      LEFT JOIN LATERAL (
            SELECT content FROM jsonb_array_elements(h.messages) AS e (content)
             WHERE content ->> 'turnId' = t.turn_id
            UNION
            SELECT content FROM copilot_chat_messages m
             WHERE m.chat_id = h.id AND content ->> 'turnId' = t.turn_id) a ON true{LOG}
     WHERE {{condition}} ORDER BY t.id"""


# What a turn may write, by table.
ROWS = {
    "chat_turns": "id = ANY ({turns})",
    "chat_stream_events": "turn_id = ANY ({turns})",
    "chat_tool_approvals": "turn_id = ANY ({turns})",
    "token_usage": "turn_id = ANY ({turns})",
    "chat_messages": "(thread_id, turn_id) IN (SELECT thread_id, turn_id FROM chat_turns WHERE id = ANY ({turns}))",
    "chat_threads": "id IN (SELECT thread_id FROM chat_turns WHERE id = ANY ({turns}))",
    "copilot_chats": "id IN (SELECT copilot_chat_id FROM chat_turns WHERE id = ANY ({turns}))",
    "copilot_chat_messages": "chat_id IN (SELECT copilot_chat_id FROM chat_turns WHERE id = ANY ({turns}))",
}


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn as the database holds it; ``thread`` is the name of its conversation, ``log`` its chunks."""

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


def assert_database_is_sound(
    ask: Ask = ask_django, condition: str = "true", *, prefixes: bool = False
) -> list[EndedTurn]:
    """The invariants hold, and each turn (that the SQL ``condition`` on ``t`` and ``h`` chooses) has ended: its log
    has no gap, folds to the stored parts and metadata, and ends where the turn says. With ``prefixes`` each beginning
    of the log folds to parts that any client takes, which costs the square of the log's length. A turn that was
    imported has no log, nor has one whose log was pruned, which is not looked for before CHAT_LOG_RETENTION_SECONDS
    are over. Returns these turns.
    """
    assert_invariants(ask)
    unended = ask(UNENDED.format(condition=condition))
    assert not unended, f"turns that have not ended: {unended[:5]}"
    threads = [_ended(prefixes, *one) for one in ask(TURNS.format(condition=condition))]
    chats = [_ended(prefixes, *one) for one in ask(COPILOT_TURNS.format(condition=condition))]
    assert len({turn.pk for turn in chats}) == len(chats), "an answer that is not the same in the array and the mirror"
    return [*threads, *chats]


def _ended(
    prefixes: bool,
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
    chunks: str | None,
    age: float,
) -> EndedTurn:
    what = f"turn {pk} ({turn_id}, {status})"
    if chunks is None:
        assert not last_seq or age > conf.get("LOG_RETENTION_SECONDS"), f"{what}: its log is gone"
        return EndedTurn(pk, thread, turn_id, status, [], orjson.loads(parts or "[]"))
    log = chunks.encode().split(b"\n")
    assert firsts == [1, *(last + 1 for last in lasts[:-1])], f"{what}: a gap or an overlap in the log"
    assert lasts[-1] == len(log) == last_seq, f"{what}: the log does not end where the turn says"
    shown = folded(map(orjson.loads, log), prefixes=prefixes)
    if parts is None or metadata is None:
        assert status != "completed", f"{what}: no answer"
        assert not shown[0], f"{what}: what was shown is not stored"
        return EndedTurn(pk, thread, turn_id, status, log, [])
    stored = orjson.loads(parts), orjson.loads(metadata)
    assert shown == stored, f"{what}: fold(log) is not what is stored"
    assert stored[1]["status"] == status, what
    assert orjson.loads(log[0])["messageId"] == message, what
    return EndedTurn(pk, thread, turn_id, status, log, stored[0])


def folded(chunks: Iterable[Chunk], *, prefixes: bool = False) -> tuple[list[Part], dict[str, Any]]:
    """The parts and the metadata that these chunks make; with ``prefixes`` each of their beginnings is looked at."""
    builder = AssistantContentBuilder()
    for chunk in chunks:
        builder.apply(chunk)
        if prefixes:
            assert_valid_parts(builder.snapshot())
    return builder.snapshot(), builder.metadata


def rows_of(turns: Sequence[int], ask: Ask = ask_django) -> list[tuple[Any, ...]]:
    """Every row of these turns, with its transaction and place: one that was rewritten as it was shows, too."""
    numbers = f"'{{{','.join(map(str, turns))}}}'"
    query = "SELECT '{table}', xmin::text, ctid::text, md5(r::text) FROM {table} r WHERE {condition} ORDER BY ctid"
    return [
        row
        for table, condition in ROWS.items()
        for row in ask(query.format(table=table, condition=condition.format(turns=numbers)))
    ]
