"""The log: every chunk of every turn, durable before it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chat.store.sql import row, rows

# JSON escapes it, so it stands in no chunk: what joins the chunks of a batch's rows into one parameter.
SEPARATOR = "\x1e"
# The channel on which a commit tells the other processes what is new; see ``news``.
CHANNEL = "chat_stream"
# The channel on which a stop is asked for: `<process> <turn>`.
STOP_CHANNEL = "chat_stop"
# In place of a process, where the news is everybody's: also of whoever follows the turn for readers of its own.
ANYBODY = "anybody"
# Ask whoever runs a turn to stop it, in SQL with the turn's ``id``.
TELL_STOP = f"pg_notify('{STOP_CHANNEL}', '{ANYBODY} ' || id)"
# PostgreSQL takes a payload of less than 8,000 bytes.
PAYLOAD_BYTES = 7_900


@dataclass(frozen=True, slots=True)
class LogRow:
    """The chunks of one turn that one commit adds: ``chunks`` are JSON texts, the first one is number ``first_seq``."""

    turn: int
    epoch: int
    first_seq: int
    chunks: Sequence[bytes]

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.chunks) - 1

    @property
    def lines(self) -> str:
        """The chunks as the log holds them, one a line."""
        return b"\n".join(self.chunks).decode()


def news(process: str, turns: Iterable[int]) -> list[str]:
    """Payloads that say whose news it is and which turns have some: ``<process> <turn>,<turn>,…``."""
    payloads, line = [], ""
    for turn in map(str, turns):
        if line and len(process) + len(line) + len(turn) + 2 > PAYLOAD_BYTES:
            payloads.append(f"{process} {line}")
            line = ""
        line = f"{line},{turn}" if line else turn
    return [*payloads, f"{process} {line}"] if line else payloads


def append(batch: Sequence[LogRow], process: str) -> set[int]:
    """Add rows of many turns in one statement, with the NOTIFY that tells of them. Returns the turns that took them.

    The fence: a row is written only while its turn is streaming under its epoch, and the turn's row is locked FOR
    SHARE until the commit: a plain join would let a recovery commit between this statement's snapshot and its
    commit, and a process that woke up late would write behind it. A turn that is missing in the answer is lost to
    its run.

    A batch may be sent again, unchanged, when nobody knows whether its commit went through: rows that are there
    are taken as written.
    """
    done = row(
        APPEND,
        turns=",".join(str(one.turn) for one in batch),
        epochs=",".join(str(one.epoch) for one in batch),
        firsts=",".join(str(one.first_seq) for one in batch),
        lasts=",".join(str(one.last_seq) for one in batch),
        chunks=SEPARATOR.join(one.lines for one in batch),
        separator=SEPARATOR,
        channel=CHANNEL,
        news=SEPARATOR.join(news(process, (one.turn for one in batch))),
    )
    assert done is not None
    lost = {int(turn) for turn in done["lost"].split(",")} if done["lost"] else set()
    return {one.turn for one in batch} - lost


# Joined strings, not Python lists: a quarter of the CPU that psycopg's arrays cost (writer benchmark).
APPEND = """
WITH batch AS MATERIALIZED (
    SELECT * FROM unnest(
        string_to_array(%(turns)s, ',')::bigint[], string_to_array(%(epochs)s, ',')::int[],
        string_to_array(%(firsts)s, ',')::int[], string_to_array(%(lasts)s, ',')::int[],
        string_to_array(%(chunks)s, %(separator)s)
    ) AS b (turn_id, epoch, first_seq, last_seq, chunks)
), live AS (
    SELECT t.id, t.epoch FROM chat_turns t
     WHERE t.id = ANY (string_to_array(%(turns)s, ',')::bigint[]) AND t.status = 'streaming'
     ORDER BY t.id FOR SHARE
), added AS (
    INSERT INTO chat_stream_events (turn_id, first_seq, last_seq, chunks)
    SELECT b.turn_id, b.first_seq, b.last_seq, b.chunks
      FROM batch b JOIN live ON live.id = b.turn_id AND live.epoch = b.epoch
    ON CONFLICT (turn_id, first_seq) DO NOTHING
)
SELECT (SELECT count(pg_notify(%(channel)s, payload))
          FROM unnest(string_to_array(%(news)s, %(separator)s)) AS n (payload)),
       (SELECT string_agg(b.turn_id::text, ',') FROM batch b
         WHERE NOT EXISTS (SELECT FROM live WHERE live.id = b.turn_id AND live.epoch = b.epoch)) AS lost
"""


@dataclass(frozen=True, slots=True)
class Position:
    """What is known of a turn's log by somebody who has read it up to ``seq``."""

    turn: int
    status: str
    last_seq: int  # of an ended turn: where its log ends; else 0
    chunks: list[bytes]


def read_news(positions: Mapping[int, int]) -> list[Position]:
    """What follows ``seq`` in the logs of many turns (``{turn: seq}``), and how each turn stands, in one statement.

    For the hub, which reads for readers that were let in before: no scope. A turn that is gone is missing.
    """
    found = rows(
        """
        SELECT t.id, t.status, t.last_seq,
               (SELECT string_agg(e.chunks, chr(10) ORDER BY e.first_seq)
                  FROM chat_stream_events e WHERE e.turn_id = t.id AND e.first_seq > p.seq) AS chunks
          FROM unnest(string_to_array(%(turns)s, ',')::bigint[], string_to_array(%(seqs)s, ',')::int[]) AS p (turn, seq)
          JOIN chat_turns t ON t.id = p.turn
        """,
        turns=",".join(map(str, positions)),
        seqs=",".join(map(str, positions.values())),
    )
    return [
        Position(
            turn=one["id"],
            status=one["status"],
            last_seq=one["last_seq"],
            chunks=one["chunks"].encode().split(b"\n") if one["chunks"] else [],
        )
        for one in found
    ]


def read_log(turn: int) -> list[bytes]:
    """All chunks of a turn, in order; empty when there are none (any more)."""
    return [chunk for position in read_news({turn: 0}) for chunk in position.chunks]


def prune(seconds: float) -> int:
    """Delete the logs of turns that ended more than ``seconds`` ago, a thousand turns at a time; how many turns."""
    pruned = row(
        """
        WITH old AS (
            SELECT id FROM chat_turns t
             WHERE t.id >= (SELECT min(turn_id) FROM chat_stream_events)  -- not all that ever were
               AND t.finished_at < clock_timestamp() - make_interval(secs => %(seconds)s)
               AND EXISTS (SELECT FROM chat_stream_events e WHERE e.turn_id = t.id)
             ORDER BY t.id LIMIT 1000
        ), gone AS (
            DELETE FROM chat_stream_events WHERE turn_id IN (SELECT id FROM old) RETURNING turn_id
        )
        SELECT count(DISTINCT turn_id) AS number FROM gone
        """,
        seconds=seconds,
    )
    assert pruned is not None
    return int(pruned["number"])
