"""Whatever a client sends to a copilot chat: a 400 that names the field, or it can be read back. Never a 500."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest

from chat.models import CopilotChat, Turn
from chat.store.scope import Scope
from chat.testing.client import Client, Response
from tests.api.test_bad_values import REFUSED, REFUSED_IN_JSON, TAKEN
from tests.copilot.chats import element
from tests.copilot.turns import assert_shown_is_stored, body, made, send, sound, stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]

HERE = "@@"
SEND, STREAM, STOP = "/api/copilot/chat", "/api/copilot/chat/stream", "/api/copilot/chat/stop"


def with_raw(value: Any, raw: str) -> bytes:
    """``value`` as JSON with the text ``raw`` in the place of HERE."""
    return orjson.dumps(value).replace(orjson.dumps(HERE), raw.encode())


def assert_refused(answer: Response, field: str | None = None) -> None:
    assert answer.status == 400, (answer.status, answer.body)
    error = answer.json()["error"]
    assert error["code"] == "invalid"
    assert error["message"]
    if field is not None:
        assert error["field"].startswith(field), error


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
async def test_text_that_cannot_be_stored_is_refused_and_nothing_is_written(
    client: Client, asker: Scope, raw: str
) -> None:
    chat = await made(asker, "u1", "a1")
    for changed, field in (
        ({"message": HERE}, "message"),
        ({"userMessageId": HERE}, "userMessageId"),
        ({"chatId": HERE}, "chatId"),
        ({"model": HERE}, "model"),
        ({"contexts": [{"kind": "k", "label": HERE}]}, "contexts"),
        ({"contexts": [{"kind": "k", "label": "l", "own": HERE}]}, "contexts"),
        ({"fileAttachments": [file(filename=HERE)]}, "fileAttachments"),
    ):
        assert_refused(await client.request("POST", SEND, with_raw(body(chat, "Hello", "m1") | changed, raw)), field)
    for path, sent in (
        (STOP, {"chatId": HERE}),
        (STOP, {"streamId": HERE}),
        ("/api/copilot/chats/", {"title": HERE}),
        (f"/api/copilot/chats/{chat}/fork/", {"upToMessageId": HERE}),
        (f"/api/copilot/chats/{chat}/inbox/", {"message": HERE}),
        (f"/api/copilot/chats/{chat}/update-messages/", {"messages_version": 0, "messages": [element("u1", own=HERE)]}),
    ):
        assert_refused(await client.request("POST", path, with_raw(sent, raw)))
    assert_refused(await client.request("PATCH", f"/api/copilot/chats/{chat}/", with_raw({"title": HERE}, raw)))
    assert [one["id"] for one in await stored(chat)] == ["u1", "a1"]
    assert not await Turn.objects.aexists()


@pytest.mark.parametrize("raw", REFUSED_IN_JSON.values(), ids=REFUSED_IN_JSON)
async def test_values_that_cannot_be_read_back_are_refused_wherever_json_is_free(
    client: Client, asker: Scope, raw: str
) -> None:
    chat = await made(asker, "u1", "a1")
    for path, sent in (
        (SEND, body(chat, "Hello", "m1", contexts=[{"kind": "k", "label": "l", "own": HERE}])),
        (SEND, body(chat, "Hello", "m1", fileAttachments=[file(own=HERE)])),
        (
            f"/api/copilot/chats/{chat}/update-messages/",
            {"messages_version": 0, "messages": [element("u1", contentBlocks=[HERE])]},
        ),
        ("/api/copilot/chats/", {"config": {"own": HERE}}),
    ):
        assert_refused(await client.request("POST", path, with_raw(sent, raw)))
    assert await CopilotChat.objects.acount() == 1
    assert [one["id"] for one in await stored(chat)] == ["u1", "a1"]


@pytest.mark.parametrize("raw", TAKEN.values(), ids=TAKEN)
async def test_values_that_look_odd_are_read_back_as_they_were_sent(client: Client, asker: Scope, raw: str) -> None:
    chat = await made(asker)
    value = orjson.loads(raw)
    sent = body(
        chat,
        "Hello" + value if isinstance(value, str) else "Hello",
        "m1",
        contexts=[{"kind": "k", "label": "l", "own": HERE}],
    )
    answer = await client.request("POST", SEND, with_raw(sent, raw))
    await assert_shown_is_stored(answer.chunks())
    page = (await client.request("GET", f"/api/copilot/chats/{chat}/")).json()
    assert page["messages"][0]["contexts"][0]["own"] == value
    assert page["messages"][0]["content"] == sent["message"]


async def test_a_body_is_bounded_and_typed(client: Client, asker: Scope, settings: Any) -> None:
    settings.CHAT_MAX_MESSAGE_CHARS = 100
    chat = await made(asker, "u1", "a1")
    good = body(chat, "Hello", "m1")
    for changed, field in (
        ({"message": ""}, "message"),
        ({"message": "  \n"}, "message"),
        ({"message": "x" * 101}, "message"),
        ({"message": None}, "message"),
        ({"message": ["Hello"]}, "message"),
        ({"userMessageId": "x" * 129}, "userMessageId"),
        ({"userMessageId": ""}, "userMessageId"),
        ({"userMessageId": 7}, "userMessageId"),
        ({"chatId": None}, "chatId"),
        ({"chatId": 7}, "chatId"),
        ({"createNewChat": "yes"}, "createNewChat"),
        ({"model": "x" * 201}, "model"),
        ({"contexts": {}}, "contexts"),
        ({"contexts": [{"label": "l"}]}, "contexts.0.kind"),
        ({"contexts": [{"kind": "k", "label": "l"}] * 101}, "contexts"),
        ({"contexts": [{"kind": "k", "label": "l", "own": "x" * (1 << 20)}]}, "contexts"),
        ({"fileAttachments": [file(size=-1)]}, "fileAttachments.0.size"),
        ({"fileAttachments": [file(size="7")]}, "fileAttachments.0.size"),
        ({"fileAttachments": [{"id": "f"}]}, "fileAttachments.0"),
    ):
        assert_refused(await client.request("POST", SEND, good | changed), field)
    assert_refused(await client.request("POST", SEND, []), "body")
    assert_refused(await client.request("POST", SEND, b"{"), "body")
    assert_refused(await client.request("POST", STOP, {}), "chatId")
    assert_refused(await client.request("GET", STREAM), "streamId")
    assert_refused(await client.request("GET", f"{STREAM}?streamId=%00"), "streamId")
    assert_refused(await client.request("GET", f"{STREAM}?streamId={'x' * 129}"), "streamId")
    assert not await Turn.objects.aexists()

    await send(client, chat, "/tokens 1 0", "m1")
    for cursor in ("7", "a-b", "%00", "-1", "1-2-3"):
        assert_refused(await client.request("GET", f"{STREAM}?streamId=m1&after={cursor}"), "after")
    assert (await client.request("GET", f"{STREAM}?streamId=m1&after=999999-1")).status == 404


async def test_elements_that_older_readers_would_stumble_over_are_refused(client: Client, asker: Scope) -> None:
    chat = await made(asker, "u1", "a1")
    path = f"/api/copilot/chats/{chat}/update-messages/"
    good = element("u1")
    for bad, field in (
        (1, "messages.1"),
        (None, "messages.1"),
        ([], "messages.1"),
        ({}, "messages.1"),
        (good | {"id": ""}, "messages.1.id"),
        (good | {"id": 7}, "messages.1.id"),
        (good | {"id": "x" * 1001}, "messages.1.id"),
        (good | {"role": "tool"}, "messages.1.role"),
        (good | {"content": None}, "messages.1.content"),
        (good | {"timestamp": "yesterday"}, "messages.1.timestamp"),
        (good | {"timestamp": "2026-02-31T10:00:00Z"}, "messages.1.timestamp"),
        (good | {"timestamp": 7}, "messages.1.timestamp"),
        (good | {"parts": "text"}, "messages.1.parts"),
        (good | {"parts": [{}]}, "messages.1.parts.0"),
        (good | {"parts": [{"type": "text"}]}, "messages.1.parts.0"),
    ):
        refused = await client.request("POST", path, {"messages": [element("u0"), bad], "messages_version": 0})
        assert_refused(refused, field)
    for version in (-1, "0", 1.5, None, 2**31):
        assert_refused(await client.request("POST", path, {"messages": [], "messages_version": version}))
    assert_refused(await client.request("POST", path, {"messages": []}), "messages_version")
    assert [one["id"] for one in await stored(chat)] == ["u1", "a1"]


async def test_an_older_programs_long_name_of_a_model_is_cut(client: Client, asker: Scope) -> None:
    chat = await made(asker, model="x" * 500, title="t" * 500)
    assert (await send(client, chat, "/tokens 1 0", "m1")).status == 200
    assert (await Turn.objects.aget()).model == "x" * 200


async def test_pages_are_asked_for_in_bounds(client: Client, asker: Scope) -> None:
    chat = await made(asker, "u1", "a1")
    for query in ("limit=0", "limit=1001", "limit=x", "before=%00", "before=" + "x" * 1001):
        assert_refused(await client.request("GET", f"/api/copilot/chats/{chat}/?{query}"))
    for query in ("limit=0", "limit=201", "after=x", "after=2026-01-01~" + str(uuid.uuid4())):
        assert_refused(await client.request("GET", f"/api/copilot/chats/?{query}"))


async def test_no_method_but_the_right_one(client: Client) -> None:
    for method, path in (
        ("GET", SEND),
        ("POST", STREAM),
        ("GET", STOP),
        ("GET", f"/api/copilot/chats/{uuid.uuid4()}/inbox/"),
    ):
        assert (await client.request(method, path)).status == 405
    await sound()


def file(**changed: Any) -> dict[str, Any]:
    return {"id": "f1", "key": "k/1", "filename": "a.pdf", "media_type": "application/pdf", "size": 7, **changed}
