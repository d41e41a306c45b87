"""A database as an older product leaves it: copilot chats whose history is an array, in the shapes that were met.

The same seed gives the same chats, to the byte. Messages are about 1 KB: plain and with attachments and contexts from
users, with text and tool blocks from assistants. In most chats question and answer have the same time.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import psycopg

BEGIN = datetime(2026, 1, 5, 8, tzinfo=UTC)
TIED = 0.58  # chats in which a question and its answer have the same millisecond
LONGEST = 3000  # messages in a chat
MODELS = ("small-1", "large-2", "large-3")
TOOLS = ("search_docs", "edit_file", "run_workflow", "read_logs")
# One element that cannot be taken as it is: no object, no id, no role, no time; in every form that was met.
BAD = (
    '"not an object"',
    "null",
    "[1, 2]",
    '{{"role": "user", "content": "{text}", "timestamp": "{time}"}}',
    '{{"id": "", "role": "user", "content": "{text}", "timestamp": "{time}"}}',
    '{{"id": {{"nested": 1}}, "role": "user", "content": "{text}", "timestamp": "{time}"}}',
    '{{"id": "{id}", "content": "{text}", "timestamp": "{time}"}}',
    '{{"id": "{id}", "role": 7, "content": "{text}", "timestamp": "{time}"}}',
    '{{"id": "{id}", "role": "user", "content": "{text}"}}',
    '{{"id": "{id}", "role": "user", "content": "{text}", "timestamp": "yesterday"}}',
    '{{"id": "{id}", "role": "user", "content": "{text}", "timestamp": "infinity"}}',
    '{{"id": "{id}", "role": "user", "content": "{text}", "timestamp": "10000-01-01T00:00:00Z"}}',
    '{{"id": "{id}", "role": "user", "content": "{text}", "timestamp": 1767600000}}',
)


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of what."""

    chats: int = 5_000
    messages: int = 580_300
    repeated: int = 87  # chats in which an id comes twice
    unordered: int = 112  # chats in which times go back
    bad: float = 0.0  # elements that are not as they should be
    seed: int = 1


def shape(chats: int, *, bad: float = 0.0) -> Shape:
    """The usual shape with this many chats."""
    usual = Shape()
    part = chats / usual.chats
    return Shape(
        chats=chats,
        messages=round(usual.messages * part),
        repeated=max(1, round(usual.repeated * part)),
        unordered=max(1, round(usual.unordered * part)),
        bad=bad,
    )


def fill(connection: psycopg.Connection, user: int, wanted: Shape) -> int:
    """Write the chats of a user; returns the bytes of JSON in their arrays."""
    size = 0
    columns = "id, user_id, title, model, messages, created_at, updated_at"
    with connection.cursor() as cursor, cursor.copy(f"COPY copilot_chats ({columns}) FROM STDIN") as copy:
        for number, (chat, model, messages, begun, ended) in enumerate(chats(wanted)):
            size += len(messages)
            copy.write_row((chat, user, f"Chat {number}", model, messages, begun, ended))
    connection.commit()
    return size


def chats(wanted: Shape) -> Iterator[tuple[uuid.UUID, str, str, datetime, datetime]]:
    """Id, model, array as JSON, time of the first and of the last message."""
    random = Random(wanted.seed)
    pool = _text_pool(random)
    lengths = _lengths(random, wanted)
    # Those that have room for what is odd about them.
    long_enough = [number for number, length in enumerate(lengths) if length >= 4]
    odd = random.sample(long_enough, min(len(long_enough), wanted.repeated + wanted.unordered))
    repeated, unordered = set(odd[: wanted.repeated]), set(odd[wanted.repeated :])
    for number, length in enumerate(lengths):
        chat = uuid.UUID(int=random.getrandbits(128), version=4)
        begun = BEGIN + timedelta(seconds=random.randrange(120 * 86_400))
        times = _times(random, begun, length)
        if number in unordered:
            place = random.randrange(1, length - 2)
            times[place], times[place + 2] = times[place + 2], times[place] - timedelta(minutes=1)
        ids = [f"{random.getrandbits(128):032x}" for _ in range(length)]
        if number in repeated:
            ids[random.randrange(length // 2, length)] = ids[random.randrange(length // 2)]
        elements = [
            _element(random, pool, ids[place], times[place], place, bad=random.random() < wanted.bad)
            for place in range(length)
        ]
        yield chat, random.choice(MODELS), f"[{','.join(elements)}]", begun, times[-1]


def _lengths(random: Random, wanted: Shape) -> list[int]:
    """Many short chats and few long ones, together exactly as many messages as wanted."""
    drawn = [min(random.lognormvariate(0, 1.1), LONGEST / 60) for _ in range(wanted.chats)]
    scale = (wanted.messages - 2 * wanted.chats) / sum(drawn)
    lengths = [2 + int(one * scale) for one in drawn]
    for number in range(wanted.messages - sum(lengths)):
        lengths[number % wanted.chats] += 1
    return lengths


def _times(random: Random, begun: datetime, length: int) -> list[datetime]:
    tied = random.random() < TIED
    times, now = [], begun
    for place in range(length):
        if place % 2 == 0 or not tied:
            now += timedelta(milliseconds=random.randrange(1, 60_000))
        times.append(now)
    return times


def _element(random: Random, pool: str, name: str, time: datetime, place: int, *, bad: bool) -> str:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"

    def text(least: int, most: int) -> str:
        size = random.randint(least, most)
        start = random.randrange(len(pool) - size)
        return pool[start : start + size]

    if bad:
        return random.choice(BAD).format(id=name, text=text(20, 400), time=stamp)
    return _question(random, text, name, stamp) if place % 2 == 0 else _answer(random, text, name, stamp)


def _question(random: Random, text: Callable[[int, int], str], name: str, stamp: str) -> str:
    more = ""
    if random.random() < 0.15:
        more += (
            f',"fileAttachments":[{{"id":"{name[:12]}","key":"uploads/{name}","filename":"report {name[:4]}.pdf",'
            f'"media_type":"application/pdf","size":{random.randrange(10**6)}}}]'
        )
    if random.random() < 0.3:
        more += f',"contexts":[{{"kind":"workflow","label":"Flow {name[:3]}","workflowId":"{name[:20]}"}}]'
    return f'{{"id":"{name}","role":"user","content":"{text(20, 1100)}","timestamp":"{stamp}"{more}}}'


def _answer(random: Random, text: Callable[[int, int], str], name: str, stamp: str) -> str:
    said = text(100, 800)
    blocks = [f'{{"type":"text","channel":"assistant","content":"{said}"}}']
    if random.random() < 0.4:
        tool = random.choice(TOOLS)
        call = (
            f'{{"id":"call_{name[:16]}","name":"{tool}","state":"success","params":{{"query":"{text(10, 80)}"}},'
            f'"result":{{"success":true,"output":"{text(50, 500)}"}},"durationMs":{random.randrange(5000)}}}'
        )
        blocks.insert(0, f'{{"type":"tool","phase":"call","toolCall":{call}}}')
    return (
        f'{{"id":"{name}","role":"assistant","content":"{said}","timestamp":"{stamp}",'
        f'"requestId":"req_{name[:12]}","contentBlocks":[{",".join(blocks)}]}}'
    )


def _text_pool(random: Random) -> str:
    """Half a megabyte of words, as JSON text; slices of it are what people said."""
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(random.choices(letters, weights=range(22, 0, -1), k=random.randint(2, 9))) for _ in range(6000)]
    words += ["für", "naïve", "日本", "→", "🙂", "`code`", "(x, y)"]
    # No escape sequences: a slice could begin in the middle of one.
    return " ".join(random.choices(words, k=80_000))
