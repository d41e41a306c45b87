"""Search over 100,000 messages, by the store's function in this process, with PostgreSQL's usual settings::

    python -m benchmarks.search [--messages 100000] [--rounds 40]

Texts are made of 20,000 words that are as common as words are (Zipf), 120 of them a message. One user owns a fifth of
all threads, 199 others the rest. Also what a message costs to write with and without the trigger that keeps the vector.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from itertools import accumulate
from statistics import median, quantiles

import django
import psycopg

from benchmarks.report import Row, table
from benchmarks.stage import Stage

SEED = 7
WORDS, LENGTH, PER_THREAD, USERS = 20_000, 120, 50, 200
VOCABULARY = [f"{'aeiou'[n % 5]}w{n:x}" for n in range(WORDS)]
ZIPF = list(accumulate(1 / (n + 1) for n in range(WORDS)))


# Half of all messages hold both words, and each must be looked into: told, and left out of the sum.
WORST = "a phrase of two of the commonest words"


def text(dice: random.Random, length: int = LENGTH) -> str:
    return " ".join(dice.choices(VOCABULARY, cum_weights=ZIPF, k=length))


def fill(connection: psycopg.Connection, messages: int) -> int:
    """The users, threads and messages; returns the user who owns a fifth."""
    dice = random.Random(SEED)
    connection.execute(
        "INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name, last_name, email,"
        " date_joined) SELECT 'user' || n, '', false, false, true, '', '', '', now() FROM generate_series(1, %s) n",
        [USERS],
    )
    users = [one[0] for one in connection.execute("SELECT id FROM auth_user ORDER BY id").fetchall()]
    big = users[0]
    threads = []
    for _ in range(messages // PER_THREAD):
        owner = big if dice.random() < 0.2 else dice.choice(users[1:])
        found = connection.execute(
            "INSERT INTO chat_threads (owner_id, title) VALUES (%s, %s) RETURNING id", [owner, text(dice, 5)]
        ).fetchone()
        assert found is not None
        threads.append(found[0])
    with connection.cursor() as cursor, cursor.copy("COPY chat_messages (thread_id, role, parts) FROM STDIN") as copy:
        for number in range(messages):
            said = f'[{{"type": "text", "text": "{text(dice)}"}}]'
            copy.write_row((threads[number % len(threads)], "user" if number % 2 else "assistant", said))
    connection.execute("VACUUM ANALYZE chat_messages, chat_threads, chat_search")
    return int(big)


def queries(dice: random.Random) -> dict[str, str]:
    common, middle, rare = VOCABULARY[:20], VOCABULARY[200:2000], VOCABULARY[5000:]
    one, two = dice.choice(middle), dice.choice(middle)
    return {
        "a common word": dice.choice(common) + " ",
        "a word": one + " ",
        "a rare word": dice.choice(rare) + " ",
        "a beginning": dice.choice(middle)[:3],
        "two words": f"{one} {two} ",
        "a phrase": f'"{dice.choice(common)} {one}"',
        WORST: f'"{dice.choice(common)} {dice.choice(common)}"',
        "this or that": f"{one} or {two} -{dice.choice(common)} ",
        "nothing": f"nosuchword{dice.random()}",
    }


def milliseconds(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=40)
    chosen = parser.parse_args()
    with Stage() as stage, psycopg.connect(stage.dsn, autocommit=True) as connection:
        os.environ |= {"DATABASE_URL": stage.dsn, "DEBUG": "1", "DJANGO_SETTINGS_MODULE": "chatproject.settings"}
        django.setup()
        from chat.store.scope import Scope
        from chat.store.search import search

        big = fill(connection, chosen.messages)
        small = big + 5
        dice = random.Random(SEED + 1)
        taken: dict[str, list[float]] = {}
        for warm in (True, False):
            for _ in range(3 if warm else chosen.rounds):
                for owner, whose in ((big, "a fifth of all"), (small, "little")):
                    for kind, q in queries(dice).items():
                        begun = time.perf_counter()
                        search(Scope(owner), q)
                        if not warm:
                            taken.setdefault(f"{kind}, by who owns {whose}", []).append(milliseconds(begun))
        rows = [
            Row(f"search for {kind}: p50", median(times), "ms", note=f"p95 {quantiles(times, n=20)[-1]:.1f} ms")
            for kind, times in taken.items()
        ]
        every = [one for kind, times in taken.items() if WORST not in kind for one in times]
        rows.append(
            Row(f"search over {chosen.messages:,} messages: p95 of all", quantiles(every, n=20)[-1], "ms", at_most=50)
        )
        rows.append(_written(connection, dice))
        print(table(rows))


def _written(connection: psycopg.Connection, dice: random.Random, count: int = 2000) -> Row:
    found = connection.execute("SELECT id FROM chat_threads LIMIT 1").fetchone()
    assert found is not None
    insert = "INSERT INTO chat_messages (thread_id, role, parts) VALUES (%s, 'user', %s)"
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(count):
        for searched in (True, False):
            with connection.transaction():
                connection.execute(
                    "SELECT set_config('session_replication_role', %s, true)", ["origin" if searched else "replica"]
                )
                said = f'[{{"type": "text", "text": "{text(dice)}"}}]'
                begun = time.perf_counter()
                connection.execute(insert, [found[0], said])
                times[searched].append(milliseconds(begun))
    with_it, without = median(times[True]), median(times[False])
    note = f"p99 {quantiles(times[True], n=100)[-1]:.2f} ms; a table with the vector in it is rewritten to add it"
    return Row(
        "writing a message with the search's trigger, against without", with_it, "ms", without, "over", note=note
    )


if __name__ == "__main__":
    main()
