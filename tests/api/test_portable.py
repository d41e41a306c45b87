"""Threads that come and go: export and import without loss, other systems' files."""

from __future__ import annotations

import copy
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import AbstractUser
from django.core.management import CommandError, call_command
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.errors import InvalidInput
from chat.models import Message, Thread, TokenUsage
from chat.protocol.mending import mend
from chat.protocol.portable.conversation import Conversation
from chat.protocol.portable.formats import conversations_of
from chat.store.scope import Scope
from chat.store.versions import read_versions, restore
from chat.testing.client import Client, said
from chat.turns.portable import Report, import_document
from tests.api.foreign_files import PNG, chatgpt, open_webui
from tests.races import race

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained")]


async def lively(client: Client) -> None:
    """A thread with tools, thoughts, a file, a failure, a regenerated answer and an edit behind it."""
    await client.send("t1", "/tool", "m1")
    await client.send("t1", "/think", "m2")
    await client.request("POST", "/api/chat", {"id": "t1", "trigger": "regenerate-message"})
    await client.send("t1", "/fail 2", "m3")
    body = said("t1", "/tokens 3 0", "m4")
    body["messages"][0]["parts"].append({"type": "file", "mediaType": "image/png", "url": PNG, "filename": "a.png"})
    await client.request("POST", "/api/chat", body)
    await client.request("POST", "/api/chat", {**said("t1", "/tokens 2 0"), "messageId": "m2"})


def bare(document: dict[str, Any]) -> dict[str, Any]:
    """An export without what another server gives anew: ids and usage."""
    document = copy.deepcopy(document)
    del document["exported_at"]
    for thread in document["threads"]:
        del thread["id"]
        places = {message["id"]: place for place, message in enumerate(thread["messages"])}
        for message in thread["messages"]:
            del message["usage"]
            for name in ("id", "parent", "version_of"):
                message[name] = message[name] and places[message[name]]
    return document


async def test_an_export_that_is_imported_elsewhere_exports_the_same(client: Client, other_client: Client) -> None:
    await lively(client)
    exported = await client.request("GET", "/api/export/")
    assert exported.headers["content-disposition"] == 'attachment; filename="threads.json"'
    document = exported.json()
    (thread,) = document["threads"]
    kinds = {part["type"] for message in thread["messages"] for part in message["parts"]}
    assert {"text", "reasoning", "file", "step-start"} < kinds
    assert any(message["version_of"] for message in thread["messages"])
    assert {turn["status"] for turn in thread["turns"]} == {"completed", "failed"}

    report = (await other_client.request("POST", "/api/import/", exported.body)).json()
    assert [one["messages"] for one in report["imported"]] == [len(thread["messages"])]
    again = (await other_client.request("GET", "/api/export/")).json()
    assert bare(again) == bare(document)
    one = (await client.request("GET", "/api/threads/t1/messages/")).json()["results"]
    two = (await other_client.request("GET", "/api/threads/t1/messages/")).json()["results"]
    assert [message["parts"] for message in two] == [message["parts"] for message in one]
    assert await TokenUsage.objects.filter(user__username__startswith="user").values("user").distinct().acount() == 1
    # And it goes on.
    assert (await other_client.send("t1", "/tokens 2 0", "m9")).status == 200


async def test_an_import_may_be_made_any_number_of_times(client: Client) -> None:
    await lively(client)
    exported = (await client.request("GET", "/api/export/")).body
    before = await Message.objects.acount()
    for _ in range(2):
        report = (await client.request("POST", "/api/import/", exported)).json()
        assert (report["imported"], len(report["there_already"])) == ([], 1)
    for document in (chatgpt(), open_webui()):
        first = (await client.request("POST", "/api/import/", json.dumps(document).encode())).json()
        second = (await client.request("POST", "/api/import/", json.dumps(document).encode())).json()
        assert second["there_already"] == [
            {"index": one["index"], "thread_id": one["thread_id"]} for one in first["imported"]
        ]
    await client.request("DELETE", "/api/threads/t1/")
    assert len((await client.request("POST", "/api/import/", exported)).json()["there_already"]) == 1
    assert await Message.objects.acount() == before + 5 + 3


def test_two_imports_at_once_make_one_thread(asker: Scope) -> None:
    reports = race([lambda: import_document(asker, chatgpt())] * 2)
    assert sorted(len(report.imported) for report in reports if isinstance(report, Report)) == [0, 1]
    assert Thread.objects.count() == 1
    assert Message.objects.count() == 5


def test_chatgpt_s_nodes_become_messages_with_versions(asker: Scope) -> None:
    (imported,) = import_document(asker, chatgpt()).imported
    assert (imported["messages"], imported["left_out"]) == (5, 1)
    thread = Thread.objects.get()
    assert (thread.title, thread.client_id) == ("What is it", "chatgpt:6565-abc")
    assert (thread.created_at.timestamp(), thread.updated_at.timestamp()) == (1_700_000_000, 1_700_000_200)
    assert thread.archived_at is not None
    by_name = {message.client_id: message for message in Message.objects.all()}
    assert by_name["q1"].parts[0]["data"]["asset_pointer"] == "file-service://file-1"
    assert by_name["q1"].parts[1] == {"type": "text", "text": "What is it?"}
    reasoning, call, text = by_name["t1"].parts
    assert (reasoning["type"], reasoning["text"]) == ("reasoning", "Look\n\nA cat?")
    assert (call["toolName"], call["input"], call["output"]) == ("python", {"text": "1+1"}, {"text": "2"})
    assert (text["text"], by_name["t1"].model) == ("A cat.", "gpt-4o")
    assert by_name["a2"].parts == [{"type": "text", "text": "A dog.\ufffd \ufffd"}]
    assert by_name["a2"].version_of_id == by_name["t1"].pk
    current = set(Message.objects.filter(is_current=True).values_list("client_id", flat=True))
    assert current == {"q1", "a2"}
    assert len(read_versions(asker, by_name["a2"].pk)) == 2
    restore(asker, by_name["t1"].pk)
    current = set(Message.objects.filter(is_current=True).values_list("client_id", flat=True))
    assert current == {"q1", "t1", "q2", "a3"}


def test_open_webui_s_details_become_parts(asker: Scope) -> None:
    import_document(asker, open_webui())
    question, first, second = Message.objects.order_by("pk")
    assert [part["type"] for part in question.parts] == ["text", "file", "file", "data-open-webui-file"]
    assert question.parts[1] == {"type": "file", "mediaType": "image/png", "url": PNG}
    reasoning, call, text, source = first.parts
    assert reasoning["text"] == "Hm.\nSo <it> is."
    assert (call["toolCallId"], call["input"], call["output"]) == ("call_1", {"q": 1}, ["hit"])
    assert text["text"].endswith("<details><summary>Mine</summary>stays</details>")
    assert source["data"] == {"source": {"name": "a"}}
    assert (first.is_current, second.is_current, second.version_of_id) == (True, False, first.pk)
    assert second.created_at.timestamp() == 1_700_000_002
    assert Thread.objects.get().metadata == {"imported_from": "open-webui", "tags": ["a"]}


def ours() -> dict[str, Any]:
    message = {"id": "1", "role": "user", "parts": [{"type": "text", "text": "x"}]}
    answer = {"id": "2", "role": "assistant", "parent": "1", "parts": []}
    thread = {"id": "0b5cb1d5-9bf3-4a4e-b4ff-8b7c6b8f9b11", "messages": [message, answer], "turns": []}
    return {"format": "durable-chat", "version": 1, "threads": [thread, {**copy.deepcopy(thread), "id": "another"}]}


def put(document: Any, path: str, value: Any) -> Any:
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = document
    for step in way:
        place = place[step]
    place[last] = value
    return document


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (put(ours(), "threads.0", 1), "threads.0"),
        (put(ours(), "threads.0.messages", {}), "threads.0.messages"),
        (put(ours(), "threads.0.messages.1.id", "1"), "threads.0.messages.1.id"),
        (put(ours(), "threads.0.messages.1.parent", "7"), "threads.0.messages.1.parent"),
        (put(ours(), "threads.0.messages.1.parent", ["1"]), "threads.0.messages.1.parent"),
        (put(ours(), "threads.0.messages.0.role", None), "threads.0.messages.0.role"),
        (put(ours(), "threads.0.messages.0.parts.0", "x"), "threads.0.messages.0.parts.0"),
        (put(ours(), "threads.0.messages.0.created_at", "soon"), "threads.0.messages.0.created_at"),
        (put(ours(), "threads.0.messages.0.created_at", 1e300), "threads.0.messages.0.created_at"),
        (put(ours(), "threads.0.messages.0.client_id", "x" * 200), "threads.0.messages.0.client_id"),
        (put(ours(), "threads.0.turns", [{"turn_id": "t", "status": "streaming"}]), "threads.0.turns.0.status"),
        (put(chatgpt(), "0.mapping", []), "0.mapping"),
        (put(chatgpt(), "0.mapping.q1.message.author", None), "0.mapping.q1.message.author"),
        (put(chatgpt(), "0.mapping.q1.message.create_time", "x"), "0.mapping.q1.message.create_time"),
        (put(chatgpt(), "0.mapping.system.parent", "a1"), "0.mapping"),
        (put(open_webui(), "0.chat.history.messages.m2.content", 5), "0.chat.history.messages.m2.content"),
        (put(open_webui(), "0.chat.history.messages.m1.parentId", "m2"), "0.chat.history.messages"),
    ],
)
def test_a_bad_conversation_is_told_by_its_place_and_the_others_are_imported(
    asker: Scope, document: Any, field: str
) -> None:
    report = import_document(asker, document)
    (refused,) = report.refused
    assert (refused["index"], refused["field"]) == (0, field)
    assert len(report.imported) == (1 if isinstance(document, dict) else 0)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"1", b'{"format": "durable-chat", "version": 2}', b"[" * 100_000])
async def test_a_file_of_no_known_kind_is_a_400(client: Client, body: bytes) -> None:
    refused = await client.request("POST", "/api/import/", body)
    assert refused.status == 400
    assert refused.json()["error"]["field"] in ("body", "version")


BROKEN = [{"type": "text", "text": 5}, {"type": "tool-x"}, {"type": "hologram"}, {"type": "text", "text": "Seen"}]


async def assert_seen(client: Client, thread: str) -> None:
    """What our page asks for can be read, and has the one part that says something."""
    state = await client.request("GET", f"/api/threads/{thread}/state/?html=true")
    assert state.status == 200
    answer = state.json()["messages"][-1]
    assert answer["html"] == ["<p>Seen</p>\n"]
    assert mend(answer["parts"], "x") == (answer["parts"], [])


async def test_an_import_of_parts_that_are_none_makes_a_thread_that_can_be_opened(client: Client) -> None:
    document = put(ours(), "threads.0.messages.1.parts", BROKEN)
    report = (await client.request("POST", "/api/import/", json.dumps(document).encode())).json()
    await assert_seen(client, report["imported"][0]["thread_id"])


async def test_an_append_of_parts_that_are_none_leaves_a_thread_that_can_be_opened(client: Client) -> None:
    await client.send("t1", "/tokens 1 0", "m1")
    await Message.objects.filter(role="assistant").adelete()
    append = {"role": "assistant", "parts": BROKEN, "turn_id": "m1"}
    assert (await client.request("POST", "/api/threads/t1/messages/", append)).status == 201
    await assert_seen(client, "t1")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            found += leaves(item, (*path, key))
    return found


ODD = st.sampled_from(
    [None, True, -1, 1e400, 2**70, "", "\x00", "\ud800", "q1", "m1", [], [1], {}, {"x": 1}, "<details>"]
)
FILES = {"ours": ours, "chatgpt": chatgpt, "open_webui": open_webui}


@settings(max_examples=600, deadline=None)
@given(kind=st.sampled_from(sorted(FILES)), seed=st.integers(0, 10_000), values=st.lists(ODD, min_size=1, max_size=3))
def test_whatever_is_wrong_in_a_file_is_told_and_never_breaks_a_read(kind: str, seed: int, values: list[Any]) -> None:
    document: Any = FILES[kind]()
    dice = random.Random(seed)
    for value in values:
        path = dice.choice(leaves(document))
        place = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = copy.deepcopy(value)  # not the same list into itself
    try:
        for _, read in conversations_of(document):
            assert isinstance(read, Conversation | InvalidInput)
            if isinstance(read, Conversation):
                for message in read.messages:
                    orjson.dumps([message.parts, message.metadata])
                    assert mend(message.parts, "x") == (message.parts, [])
    except InvalidInput:
        pass


def test_odd_files_that_are_read_can_be_written(asker: Scope) -> None:
    dice = random.Random(5)
    odd = [None, True, -1, 2**70, "\x00", "\ud800", "q1", "m1", [], {"x": 1}, "x" * 3000]
    written = 0
    for _ in range(150):
        document: Any = dice.choice(list(FILES.values()))()
        for _ in range(2):
            *way, last = dice.choice(leaves(document))
            place = document
            for step in way:
                place = place[step]
            place[last] = copy.deepcopy(dice.choice(odd))
        with suppress(InvalidInput):
            written += len(import_document(asker, document).imported)
        Thread.objects.all().delete()
    assert written > 50


def test_instructions_and_models_that_may_not_be_chosen_are_left_out(asker: Scope) -> None:
    document = ours()
    document["threads"][0]["metadata"] = {"model": "secret", "colour": "red"}
    document["threads"][0]["messages"][0]["role"] = "system"
    report = import_document(asker, document)
    assert report.imported[0]["left_out"] == 1
    assert Thread.objects.get(pk=report.imported[0]["thread_id"]).metadata == {"colour": "red"}
    assert not Message.objects.filter(role="system").exists()


def test_the_commands_export_and_import(
    asker: Scope, user: AbstractUser, other_user: AbstractUser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_document(asker, open_webui())
    call_command("export_chats", "--user", user.get_username())
    file = tmp_path / "threads.json"
    file.write_text(capsys.readouterr().out)
    call_command("import_chats", str(file), "--user", other_user.get_username())
    assert "1 threads with 3 messages imported" in capsys.readouterr().out
    call_command("import_chats", str(file), "--user", other_user.get_username(), "--json")
    again = json.loads(capsys.readouterr().out)
    assert (again["imported"], len(again["there_already"])) == ([], 1)
    file.write_text(json.dumps(put(open_webui(), "0.chat.history", 1)))
    with pytest.raises(CommandError):
        call_command("import_chats", str(file), "--user", other_user.get_username())
    with pytest.raises(CommandError, match="no user"):
        call_command("import_chats", str(file), "--user", "nobody")
    with pytest.raises(CommandError, match=r"none\.json cannot be read: No such file"):
        call_command("import_chats", str(tmp_path / "none.json"), "--user", user.get_username())
    file.write_text("[")
    with pytest.raises(CommandError, match=r"threads\.json: "):
        call_command("import_chats", str(file), "--user", user.get_username())
