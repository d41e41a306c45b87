"""A page of 200 messages (about 200 KB of JSON) through the API, against a ModelSerializer view of the same rows::

    python -m benchmarks.transcript [--rounds 12] [--requests 40] [--json rows.json]

A uvicorn process serves both (``benchmarks.plain`` is the other view), behind the same middleware and authentication.
They take turns; what is compared is the process's CPU, and what is printed the median of the rounds.
"""

from __future__ import annotations

import argparse
import json
import time
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from benchmarks.client import Target
from benchmarks.processes import used
from benchmarks.report import Row, hand_on
from benchmarks.stage import Stage

FILL = """
WITH thread AS (
    INSERT INTO chat_threads (owner_id, client_id) SELECT min(id), 't1' FROM auth_user RETURNING id
), message AS (
    INSERT INTO chat_messages (thread_id, turn_id, role, parts, metadata)
    SELECT id, (n / 2)::text, CASE n % 2 WHEN 0 THEN 'user' ELSE 'assistant' END,
           jsonb_build_array(jsonb_build_object('type', 'text', 'text', repeat(md5(n::text) || ' ', 24))),
           '{"model": "large-2", "finishReason": "stop"}'
      FROM thread, generate_series(0, 199) n
    RETURNING id, thread_id, role
)
INSERT INTO token_usage (message_id, thread_id, prompt_tokens, completion_tokens, total_tokens, cost_micros, source)
SELECT id, thread_id, 812, 190, 1002, 3300, 'reported' FROM message WHERE role = 'assistant'
"""
OURS, THEIRS = "/api/threads/t1/messages/?limit=200", "/plain/t1/"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--requests", type=int, default=40, help="of each view a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the row there as well")
    chosen = parser.parse_args()
    began = time.monotonic()
    with Stage() as stage:
        with psycopg.connect(stage.dsn, autocommit=True) as connection:
            connection.execute(FILL)
            connection.execute("VACUUM ANALYZE")
        target = stage.serve(DJANGO_SETTINGS_MODULE="benchmarks.plain_settings", SECURE_SSL_REDIRECT="0")
        asked = HTTPConnection("127.0.0.1", target.port, timeout=60)
        sizes = [len(_answer(asked, target, path)) for path in (OURS, THEIRS)]
        _same(*(json.loads(_answer(asked, target, path))["results"] for path in (OURS, THEIRS)))
        taken: dict[str, list[tuple[float, float]]] = {OURS: [], THEIRS: []}
        for _ in range(chosen.rounds):
            for path, times in taken.items():
                begun = used(target.pid, target.postgres)
                for _ in range(chosen.requests):
                    _answer(asked, target, path)
                ended = used(target.pid, target.postgres)
                spent = ended.server - begun.server, ended.postgres - begun.postgres
                times.append((spent[0] * 1000 / chosen.requests, spent[1] * 1000 / chosen.requests))
    (one, beside), (two, and_beside) = ([median(each) for each in zip(*taken[path], strict=True)] for path in taken)
    row = Row(
        "a page of 200 messages: requests per CPU second of the server",
        1000 / one,
        "requests/s",
        1000 / two,
        "ratio",
        at_least=5,
        note=f"{one:.2f} ms of CPU against {two:.2f} of a ModelSerializer; PostgreSQL's {beside:.2f} and "
        f"{and_beside:.2f}; {sizes[0]:,} and {sizes[1]:,} bytes",
    )
    hand_on([row], time.monotonic() - began, chosen.json)


def _answer(asked: HTTPConnection, target: Target, path: str) -> bytes:
    asked.request("GET", path, headers={"Authorization": f"Bearer {target.token}"})
    response = asked.getresponse()
    body = response.read()
    assert response.status == 200, body
    return body


def _same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Both tell the same: two hundred messages with their usage, ours from the oldest on."""
    assert len(ours) == 200
    for one, other in zip(ours, reversed(theirs), strict=True):
        for name in ("role", "parts", "metadata", "turn_id", "client_id"):
            assert one[name] == other[name], name
        assert one["id"] == str(other["id"])
        assert ([one["usage"]] if one["usage"] else []) == other["usage"]


if __name__ == "__main__":
    main()
