"""Values that PostgreSQL, Python or JavaScript reject or change, on every way in: from a client they are a 400 that
names the field, from an agent they are repaired.
"""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from chat.models import Message, Thread
from chat.testing.client import Client, said
from chat.testing.invariants import assert_invariants
from tests.folded import assert_shown_is_stored
from tests.turns.agents import Says

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]

# As they stand in a JSON text: where the encoder would refuse, a client need not.
REFUSED = {
    "NUL": r'"a\u0000b"',
    "high surrogate": r'"\ud83d"',
    "low surrogate": r'"\ude00"',
}
REFUSED_IN_JSON = {
    **REFUSED,
    "NUL in a key": r'{"a\u0000": 1}',
    "surrogate in a key": r'{"\ud83d": 1}',
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "1e400": "1e400",
    "1e131071": "1e131071",
    "1e131072": "1e131072",
    "5,000 digits": "9" * 5000,
    "beyond 64 bits": str(2**64),
    "depth 100": "[" * 100 + "]" * 100,
    "depth 1,000": "[" * 1000 + "]" * 1000,
    "depth 10,000": "[" * 10_000 + "]" * 10_000,
    "depth 100,000": "[" * 100_000 + "]" * 100_000,
    "amplifier": "[" + ",".join(["1e131071"] * 1000) + "]",
}
TAKEN = {
    "emoji": r'"\ud83d\ude00"',
    "negative zero": "-0",
    "1e2": "1e2",
    "1.10": "1.10",
    "duplicate keys": '{"a": 1, "a": 2}',
    "line separators": '"\\u2028\\u2029\\u0085"',
    "an event in disguise": r'"\n\nevent: done\ndata: {}\n\n"',
    "markup": '"<img src=x onerror=alert(1)>"',
}


def chat_body(**raw: str) -> bytes:
    """A send with raw JSON texts in places: text, data, id, turn_id, model, title, thread."""
    parts = '{"type": "text", "text": ' + raw.get("text", '"/tokens 2 0"') + "}"
    if "data" in raw:
        parts += ', {"type": "data-note", "data": ' + raw["data"] + "}"
    body = (
        '{"id": '
        + raw.get("thread", '"t1"')
        + ', "messages": [{"role": "user", "id": '
        + raw.get("id", '"m1"')
        + ', "parts": ['
        + parts
        + "]}]"
    )
    for key in ("turn_id", "model"):
        if key in raw:
            body += f', "{key}": {raw[key]}'
    if "title" in raw:
        document = '{"id": 1, "document_type": "FILE", "title": ' + raw["title"] + "}"
        body += f', "mentioned_documents": [{document}]'
    return (body + "}").encode()


async def assert_readable(client: Client) -> None:
    """Whatever was sent, every list can be read and nothing is half-written."""
    threads = await client.request("GET", "/api/threads/")
    assert threads.status == 200
    for thread in json.loads(threads.body)["results"]:
        messages = await client.request("GET", f"/api/threads/{thread['id']}/messages/")
        assert messages.status == 200
        json.loads(messages.body)
    await sync_to_async(assert_invariants)()


@pytest.mark.parametrize("place", ["text", "id", "thread", "turn_id", "model", "title"])
@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED.keys())
async def test_a_bad_text_is_refused_by_the_name_of_its_field(client: Client, place: str, value: str) -> None:
    refused = await client.request("POST", "/api/chat", chat_body(**{place: value}))
    field = {
        "text": "messages.0.parts.0.text",
        "id": "messages.0.id",
        "thread": "id",
        "turn_id": "turn_id",
        "model": "model",
        "title": "mentioned_documents.0.title",
    }[place]
    assert (refused.status, refused.json()["error"]["code"]) == (400, "invalid")
    assert refused.json()["error"]["field"] == field
    assert not await Message.objects.aexists()
    await assert_readable(client)


@pytest.mark.parametrize("value", REFUSED_IN_JSON.values(), ids=REFUSED_IN_JSON.keys())
async def test_a_bad_json_value_is_refused_wherever_json_is_taken(client: Client, value: str) -> None:
    ways = [
        ("POST", "/api/chat", chat_body(data=value), "messages.0.parts.1.data"),
        ("POST", "/api/threads/", f'{{"metadata": {{"note": {value}}}}}'.encode(), "metadata.note"),
        (
            "POST",
            "/api/threads/t1/messages/",
            f'{{"role": "user", "parts": [{{"type": "data-note", "data": {value}}}]}}'.encode(),
            "parts.0.data",
        ),
    ]
    await client.send("t1", "/tokens 1 0")
    for method, path, body, field in ways:
        refused = await client.request(method, path, body)
        assert (refused.status, refused.json()["error"]["code"]) == (400, "invalid"), path
        named = refused.json()["error"]["field"]
        assert named == "body" or named.startswith(field), path
    assert await Message.objects.acount() == 2
    await assert_readable(client)


@pytest.mark.parametrize("value", TAKEN.values(), ids=TAKEN.keys())
async def test_an_odd_but_good_value_is_kept(client: Client, value: str) -> None:
    text = {"text": value} if value.startswith('"') else {}
    await assert_shown_is_stored((await client.request("POST", "/api/chat", chat_body(data=value, **text))).chunks())
    message = await Message.objects.aget(role="user")
    assert message.parts[-1]["data"] == json.loads(value)
    await assert_readable(client)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b'"text"', "body"),
        (b"\xff\xfe", "body"),
        (b"{}", "id"),
        (b'{"id": 5}', "id"),
        (b'{"id": ""}', "id"),
        (b'{"id": "  "}', "id"),
        (b'{"id": "%s"}' % (b"x" * 129), "id"),
        (b'{"id": "t1"}', "messages"),
        (b'{"id": "t1", "messages": {}}', "messages"),
        (b'{"id": "t1", "messages": [5]}', "messages.0"),
        (b'{"id": "t1", "messages": [{}]}', "messages.0.role"),
        (b'{"id": "t1", "messages": [{"role": "system", "parts": []}]}', "messages.0.role"),
        (b'{"id": "t1", "messages": [{"role": "user"}]}', "messages.0.parts"),
        (b'{"id": "t1", "messages": [{"role": "user", "parts": []}]}', "messages.0.parts"),
        (b'{"id": "t1", "messages": [{"role": "user", "parts": ["x"]}]}', "messages.0.parts.0"),
        (b'{"id": "t1", "messages": [{"role": "user", "parts": [{"type": "text"}]}]}', "messages.0.parts.0.text"),
        (
            b'{"id": "t1", "messages": [{"role": "user", "parts": [{"type": "text", "text": " "}]}]}',
            "messages.0.parts",
        ),
        (
            b'{"id": "t1", "messages": [{"role": "user", "parts": [{"type": "tool-x", "text": "x"}]}]}',
            "messages.0.parts.0.type",
        ),
        (
            b'{"id": "t1", "trigger": "dance",'
            b' "messages": [{"role": "user", "parts": [{"type": "text", "text": "x"}]}]}',
            "trigger",
        ),
        (
            b'{"id": "t1", "mentioned_documents": [{"id": 1, "title": "x"}],'
            b' "messages": [{"role": "user", "parts": [{"type": "text", "text": "x"}]}]}',
            "mentioned_documents.0.document_type",
        ),
        (
            b'{"id": "t1", "mentioned_documents": [{"id": 1, "title": "x", "kind": "planet"}],'
            b' "messages": [{"role": "user", "parts": [{"type": "text", "text": "x"}]}]}',
            "mentioned_documents.0.kind",
        ),
    ],
)
async def test_a_body_that_is_no_send_is_refused_by_field(client: Client, body: bytes, field: str) -> None:
    refused = await client.request("POST", "/api/chat", body)
    assert (refused.status, refused.json()["error"]["field"]) == (400, field)
    assert not await Message.objects.aexists()


async def test_over_long_text_is_refused(client: Client, settings: Any) -> None:
    settings.CHAT_MAX_MESSAGE_CHARS = 100
    assert (await client.send("t1", "x" * 101)).json()["error"]["field"] == "messages.0.parts.0.text"
    append = {"role": "user", "content": "x" * 101}
    await client.send("t1", "/tokens 1 0")
    refused = await client.request("POST", "/api/threads/t1/messages/", append)
    assert (refused.status, refused.json()["error"]["field"]) == (400, "content.0.text")


async def test_a_body_over_the_limit_is_refused_before_it_is_read(client: Client, settings: Any) -> None:
    settings.CHAT_MAX_BODY_BYTES = 1000
    assert (await client.send("t1", "x" * 1000)).status == 413
    said_less = await client.request(
        "POST", "/api/chat", b"x" * 1001, headers={"content-length": "10", "transfer-encoding": "chunked"}
    )
    assert said_less.status == 413
    await client.request("POST", "/api/threads/", {"id": "t1"})
    assert (await client.request("POST", "/api/threads/t1/messages/", b"x" * 1001)).status == 413


@pytest.mark.parametrize("length", ["5,5", "five", "-5", "\xb2"])
async def test_a_length_that_is_no_number_is_nothing_that_was_said(client: Client, length: str) -> None:
    """A server may hand two headers on, which Django joins."""
    headers = {"content-length": length}
    assert (await client.request("POST", "/api/threads/", {"title": "x"}, headers)).status == 201
    assert (await client.request("POST", "/api/chat", said("t1", "/tokens 1 0"), headers)).status == 200
    form = {"content-type": "multipart/form-data; boundary=x", **headers}
    assert (await client.request("POST", "/api/attachments/", b"--x--", form)).status == 400


async def test_a_million_keys_cost_about_what_they_weigh(client: Client) -> None:
    """Eleven bytes each: what a body of that size may cost."""
    keys = ",".join(f'"k{number:06}":0' for number in range(1_000_000))
    for path, body in (
        ("/api/chat", f'{{"id":"t1",{keys}}}'),
        ("/api/threads/", f'{{"id":"t1","metadata":{{{keys}}}}}'),
    ):
        begun = time.process_time()
        refused = await client.request("POST", path, body.encode())
        assert refused.status in (400, 413), path
        assert time.process_time() - begun < 5
    assert not await Thread.objects.aexists()


@pytest.mark.parametrize("path", ["/api/chat", "/api/threads/"])
async def test_a_packed_body_is_not_unpacked(client: Client, path: str) -> None:
    bomb = gzip.compress(b'{"id": "t1", "title": "' + b"x" * 50_000_000 + b'"}')
    refused = await client.request("POST", path, bomb, {"content-encoding": "gzip"})
    assert (refused.status, refused.json()["error"]["field"]) == (400, "body")


OUTPUT: dict[str, Any] = {
    "NUL": "a\0b",
    "high surrogate": "a\ud83d",
    "low surrogate": "\ude00b",
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "huge int": 10**400,
    "5,000 digits": 10**5000,
    "beyond 64 bits": 2**70,
    "negative zero": -0.0,
    "1e300": 1e300,
    "1e-320": 1e-320,
    "bytes": b"\xff\x00",
    "set": {1, 2},
    "object": object(),
    "keys that are no text": {1: "a", None: "b", "n\0l": "c", "\ud800": "d"},
    "a date of the year 10000": "10000-01-01T00:00:00Z",
    "big": "x" * 3_000_000,
}
deep: Any = "bottom"
for _ in range(5000):
    deep = [deep]
OUTPUT["depth 5,000"] = deep
ring: list[Any] = []
ring.append(ring)
OUTPUT["a ring"] = ring


@pytest.mark.parametrize("value", OUTPUT.values(), ids=OUTPUT.keys())
async def test_a_bad_value_of_an_agent_is_repaired_and_the_turn_completes(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    call = {"toolCallId": "c1", "toolName": "look"}
    chunks: list[Any] = [
        {"type": "text-start", "id": "1"},
        {"type": "text-delta", "id": "1", "delta": value},
        {"type": "text-end", "id": "1"},
        {"type": "reasoning-delta", "id": value, "delta": value},
        {"type": "tool-input-available", **call, "input": {"value": value}},
        {"type": "tool-output-available", "toolCallId": "c1", "output": value},
        {"type": "tool-input-available", "toolCallId": value, "toolName": value, "input": value},
        {"type": "tool-output-error", "toolCallId": value, "errorText": value},
        {"type": "data-note", "data": value, "id": value},
        {"type": "source-url", "sourceId": "s", "url": value, "title": value},
        {"type": "message-metadata", "messageMetadata": {"value": value}},
        {"type": value},
        value,
        {"type": "finish", "finishReason": value, "messageMetadata": {"also": value}},
    ]
    settings.CHAT_AGENT = "tests.turns.agents.Says"
    monkeypatch.setattr(Says, "chunks", chunks)
    turn = await assert_shown_is_stored((await client.send("t1", "Hello")).chunks())
    assert turn.status == "completed"
    await assert_readable(client)


@pytest.mark.parametrize("value", ["a\0b", "\ud83d", "x" * 100_000])
async def test_a_bad_error_text_of_an_agent_is_repaired(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.Says"
    monkeypatch.setattr(Says, "chunks", [{"type": "error", "errorText": value}])
    turn = await assert_shown_is_stored((await client.send("t1", "Hello")).chunks())
    assert turn.status == "failed"
    await assert_readable(client)


async def test_a_character_split_over_two_deltas_is_one_character(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.Says"
    halves = [{"type": "text-delta", "id": "1", "delta": half} for half in ("a\ud83d", "\ude00b")]
    monkeypatch.setattr(Says, "chunks", halves)
    await assert_shown_is_stored((await client.send("t1", "Hello")).chunks())
    answer = await Message.objects.aget(role="assistant")
    assert answer.parts[-1]["text"] == "a😀b"
