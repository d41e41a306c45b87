"""Another answer, an edited question, and the way back: nothing is lost, and one history is current."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from chat.models import Message, Thread, Turn, TurnStatus
from chat.store.begin import NewUserMessage, begin_turn
from chat.store.finalize import finalize_assistant_turn
from chat.store.scope import Scope
from chat.store.threads import open_thread
from chat.store.usage import UsageFigures
from chat.store.versions import Revision, current_version, restore
from chat.testing.client import Client, said
from chat.testing.invariants import assert_invariants
from chat.turns.recover import recover_expired
from tests.folded import assert_log_is_stored, assert_shown_is_stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("drained"), pytest.mark.timeout(180)]


def again(
    text: str = "/tokens 2 0", *, name: str | None = None, messages: tuple[str, ...] = ("m1",), **keys: Any
) -> Any:
    """A regenerate as the AI SDK sends it: the history up to the question, and at most an answer's id."""
    body = said("t1", text, "", **keys)
    body["trigger"] = "regenerate-message"
    body["messages"] = [{"id": one, "role": "user", "parts": [{"type": "text", "text": one}]} for one in messages]
    if name is not None:
        body["messageId"] = name
    return body


def edited(text: str, name: str, **keys: Any) -> Any:
    body = said("t1", text, name, **keys)
    body["messageId"] = name
    return body


async def sent(client: Client, body: Any) -> Turn:
    answer = await client.request("POST", "/api/chat", body)
    assert answer.status == 200, answer.body
    turn = await assert_shown_is_stored(answer.chunks())
    await assert_log_is_stored(turn.pk)
    return turn


async def current(client: Client) -> list[str]:
    """What a reader of the thread sees, as role and words."""
    found = (await client.request("GET", "/api/threads/t1/messages/")).json()["results"]
    return [f"{one['role'][0]}: {''.join(part.get('text', '') for part in one['parts'])}".strip() for one in found]


async def answers() -> list[Message]:
    return [one async for one in Message.objects.filter(role="assistant").order_by("pk")]


async def test_another_answer_takes_the_place_of_the_first(client: Client) -> None:
    first = await sent(client, said("t1", "/tokens 1 0", "m1"))
    second = await sent(client, again())
    assert second.trigger == "regenerate"
    assert second.replaces_id == first.pk
    assert await current(client) == ["u: /tokens 1 0", "a: w1"]
    one, two = await answers()
    assert (one.is_current, two.is_current) == (False, True)
    assert two.version_of_id == one.pk
    assert two.parent_id == one.parent_id
    versions = (await client.request("GET", f"/api/messages/{two.pk}/versions/")).json()["results"]
    assert [(version["id"], version["is_current"]) for version in versions] == [
        (str(one.pk), False),
        (str(two.pk), True),
    ]
    await sync_to_async(assert_invariants)()


async def test_what_followed_a_replaced_answer_goes_with_it_and_comes_back_with_it(client: Client) -> None:
    await sent(client, said("t1", "/tokens 1 0", "m1"))
    await sent(client, said("t1", "/tokens 2 0", "m2"))
    one, _ = await answers()
    await sent(client, again(name=str(one.pk)))
    assert await current(client) == ["u: /tokens 1 0", "a: w1"]
    await sent(client, said("t1", "/tokens 3 0", "m3"))
    assert await current(client) == ["u: /tokens 1 0", "a: w1", "u: /tokens 3 0", "a: w1 w2 w3"]
    assert (await client.request("POST", f"/api/messages/{one.pk}/restore/", {})).status == 200
    assert await current(client) == ["u: /tokens 1 0", "a: w1", "u: /tokens 2 0", "a: w1 w2"]
    again_current = (await answers())[2]
    await client.request("POST", f"/api/messages/{again_current.pk}/restore/", {})
    assert await current(client) == ["u: /tokens 1 0", "a: w1", "u: /tokens 3 0", "a: w1 w2 w3"]


@pytest.mark.parametrize("how", ["fails", "is stopped empty", "is interrupted"])
async def test_an_answer_that_comes_to_nothing_leaves_the_first_current(
    client: Client, how: str, settings: Any
) -> None:
    await sent(client, said("t1", "/tokens 1 0", "m1"))
    await sent(client, said("t1", "/tokens 2 0", "m2"))
    before = await current(client)
    settings.CHAT_AGENT = "tests.turns.agents.Complains" if how == "fails" else "tests.turns.agents.Patient"
    one = (await answers())[0]
    async with client.stream("POST", "/api/chat", again(name=str(one.pk))) as stream:
        if how != "fails":
            chunks = await stream.until("data-assistant-message-id")
            turn = next(chunk["data"]["turn"] for chunk in chunks if chunk["type"] == "data-turn")
        if how == "is stopped empty":
            await client.request("POST", "/api/chat/t1/stop", {})
        elif how == "is interrupted":
            await Turn.objects.filter(pk=turn).aupdate(epoch=2, heartbeat_at="2026-01-01T00:00:00Z")
            await sync_to_async(recover_expired)(turn)
        async for _ in stream.events():
            pass
    assert await current(client) == before
    ended = await Turn.objects.aget(trigger="regenerate")
    assert ended.status == {"fails": "failed", "is stopped empty": "stopped"}.get(how, "interrupted")
    late = (await answers())[-1]
    assert not late.is_current
    assert (await client.request("POST", f"/api/messages/{late.pk}/restore/", {})).status == 404
    settings.CHAT_AGENT = "chat.agents.demo.agent"
    await sent(client, again(name=str(one.pk)))
    assert await current(client) == before[:2]


async def test_an_older_client_that_appends_the_question_of_another_answer_gets_the_question(client: Client) -> None:
    await sent(client, said("t1", "/tokens 1 0", "m1"))
    await sent(client, again(turn_id="another"))
    question = await Message.objects.aget(role="user")
    late = {"role": "user", "turn_id": "another", "parts": [{"type": "text", "text": "/tokens 1 0"}]}
    appended = await client.request("POST", "/api/threads/t1/messages/", late)
    assert (appended.status, appended.json()["id"]) == (200, str(question.pk))
    assert await current(client) == ["u: /tokens 1 0", "a: w1"]


async def test_while_another_answer_is_made_the_stream_tells_it_and_the_history_leaves_its_place_empty(
    client: Client,
) -> None:
    await sent(client, said("t1", "/tokens 1 0", "m1"))
    await Message.objects.filter(role="user").aupdate(parts=[{"type": "text", "text": "/hang"}])
    async with client.stream("POST", "/api/chat", again()) as stream:
        chunks = await stream.until("text-delta")
        late = next(chunk["messageId"] for chunk in chunks if chunk["type"] == "start")
        assert await current(client) == ["u: /hang"]
        state = (await client.request("GET", "/api/threads/t1/state/")).json()
        assert state["turn"]["assistant_message_id"] == int(late)
        assert [one["role"] for one in state["messages"]] == ["user"]
        await client.request("POST", "/api/chat/t1/stop", {})
        async for _ in stream.events():
            pass
    assert len(await current(client)) == 2
    assert (await answers())[-1].is_current


async def test_a_question_without_an_answer_is_answered(client: Client, settings: Any) -> None:
    settings.CHAT_AGENT = "tests.turns.agents.Complains"
    await client.send("t1", "Hello", "m1")
    settings.CHAT_AGENT = "chat.agents.demo.agent"
    turn = await sent(client, again())
    assert turn.status == "completed"
    assert len(await current(client)) == 2
    await Message.objects.filter(role="assistant").adelete()
    assert (await client.request("POST", "/api/chat", again())).chunks()[-1]["type"] == "finish"
    assert len(await current(client)) == 2


async def test_an_edit_is_current_at_once_and_what_it_replaced_can_be_restored(client: Client) -> None:
    await sent(client, said("t1", "/tokens 1 0", "m1"))
    await sent(client, said("t1", "/tokens 2 0", "m2"))
    turn = await sent(client, edited("/tokens 3 0", "m1"))
    assert turn.trigger == "edit"
    assert await current(client) == ["u: /tokens 3 0", "a: w1 w2 w3"]
    first = await Message.objects.filter(role="user").order_by("pk").afirst()
    assert first is not None
    versions = (await client.request("GET", f"/api/messages/{first.pk}/versions/")).json()["results"]
    assert [version["is_current"] for version in versions] == [False, True]
    await client.request("POST", f"/api/messages/{first.pk}/restore/", {})
    assert await current(client) == ["u: /tokens 1 0", "a: w1", "u: /tokens 2 0", "a: w1 w2"]


async def test_a_retried_edit_is_the_same_turn_and_the_next_edit_of_the_old_name_edits_the_newest(
    client: Client,
) -> None:
    await sent(client, said("t1", "/tokens 1 0", "m1"))
    first = await sent(client, edited("/tokens 3 0", "m1"))
    assert (await sent(client, edited("/tokens 3 0", "m1"))).pk == first.pk
    second = await sent(client, edited("/tokens 4 0", "m1"))
    assert second.replaces_id == first.pk
    assert (await sent(client, edited("/tokens 3 0", "m1"))).pk not in (first.pk, second.pk)
    assert await current(client) == ["u: /tokens 3 0", "a: w1 w2 w3"]
    assert await Message.objects.filter(role="user", is_current=True).acount() == 1


async def test_the_retry_of_a_revision_joins_it_also_when_all_it_was_about_has_been_replaced(client: Client) -> None:
    """By an edit of an earlier message: no version of what the retry names is current any more."""
    await sent(client, said("t1", "/tokens 1 0", "m1"))
    await sent(client, said("t1", "/tokens 1 0", "m2"))
    edit = edited("/tokens 3 0", "m2", turn_id="an-edit")
    answer = again(name="m2", messages=("m1", "m2"), turn_id="another")
    first, second = await sent(client, edit), await sent(client, answer)
    await sent(client, edited("/tokens 4 0", "m1"))
    assert (await sent(client, edit)).pk == first.pk
    assert (await sent(client, answer)).pk == second.pk
    assert await current(client) == ["u: /tokens 4 0", "a: w1 w2 w3 w4"]
    for other in (edited("/tokens 5 0", "m2", turn_id="an-edit"), edited("/tokens 3 0", "m2", turn_id="a-new-one")):
        refused = await client.request("POST", "/api/chat", other)
        expected = (409, "turn_conflict") if other["turn_id"] == "an-edit" else (404, "message_not_found")
        assert (refused.status, refused.json()["error"]["code"]) == expected


async def test_an_edit_while_the_answer_is_made_stops_it(client: Client) -> None:
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m1")) as stream:
        await stream.until("text-delta")
        await sent(client, edited("/tokens 2 0", "m1"))
    assert await current(client) == ["u: /tokens 2 0", "a: w1 w2"]
    assert [turn.status async for turn in Turn.objects.order_by("pk")] == ["stopped", "completed"]


async def test_a_restore_waits_for_no_live_turn(client: Client) -> None:
    await sent(client, said("t1", "/tokens 1 0", "m1"))
    await sent(client, again())
    one, _ = await answers()
    async with client.stream("POST", "/api/chat", said("t1", "/hang", "m2")) as stream:
        await stream.until("text-delta")
        refused = await client.request("POST", f"/api/messages/{one.pk}/restore/", {})
        assert (refused.status, refused.json()["error"]["code"]) == (409, "thread_busy")


@contextmanager
def behind_the_lock() -> Iterator[set[str]]:
    """For how long PostgreSQL keeps the lock of a process that sleeps before a statement that changes messages."""
    kept: set[str] = set()

    def look(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if "UPDATE chat_messages" in sql:
            with context["connection"].connection.cursor() as cursor:
                kept.add(cursor.execute("SHOW idle_in_transaction_session_timeout").fetchone()[0])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(look):
        yield kept


def test_a_process_that_sleeps_while_an_answer_takes_its_place_does_not_keep_the_thread_from_others(
    asker: Scope,
) -> None:
    """Whoever recovers its turns would wait for it, and with them all others whose leases that process renews."""
    thread = open_thread(asker, "t1")
    words = [{"type": "text", "text": "Hello"}]
    told: dict[str, Any] = {"request": {}, "user_message": None}
    first = begin_turn(asker, thread, "m1", fingerprint="", **(told | {"user_message": NewUserMessage(words)}))
    end = partial(finalize_assistant_turn, status=TurnStatus.COMPLETED, parts=words, metadata={}, usage=UsageFigures())
    end(first)
    answer = current_version(asker, thread, None)
    revised = Revision(answer.id, answer.parent, answer.first_version, answer.turn, is_edit=False)
    second = begin_turn(asker, thread, "again", fingerprint="", trigger="regenerate", revises=revised, **told)
    with behind_the_lock() as kept:
        end(second)
    assert kept == {"5s"}
    with behind_the_lock() as kept:
        restore(asker, answer.id)
    assert kept == {"5s"}


async def test_nobody_sees_or_restores_the_versions_of_somebody_else(client: Client, other_client: Client) -> None:
    await sent(client, said("t1", "/tokens 1 0", "m1"))
    one = (await answers())[0]
    for method, path in (("GET", "versions"), ("POST", "restore")):
        assert (await other_client.request(method, f"/api/messages/{one.pk}/{path}/", {})).status == 404
    assert (await client.request("GET", "/api/messages/999999/versions/")).status == 404


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (edited("Hello", "nowhere"), 404, "message_not_found"),
        (again(name="nowhere"), 404, "message_not_found"),
        (edited("Hello", "m1", on_busy="enqueue"), 400, "invalid"),
        ({**again(), "id": "t2"}, 404, "thread_not_found"),
    ],
)
async def test_a_revision_of_what_is_not_there_is_refused(client: Client, body: Any, status: int, code: str) -> None:
    await sent(client, said("t1", "/tokens 1 0", "m1"))
    answer = await client.request("POST", "/api/chat", body)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)
    assert await Turn.objects.acount() == 1


async def test_an_answer_cannot_be_edited(client: Client) -> None:
    await sent(client, said("t1", "/tokens 1 0", "m1"))
    (answer,) = await answers()
    refused = await client.request("POST", "/api/chat", edited("I said so.", str(answer.pk)))
    assert (refused.status, refused.json()["error"]["field"]) == (400, "messageId")
    assert [one.parts for one in await answers()] == [answer.parts]


async def test_the_agent_is_told_the_history_in_front_of_the_question_it_answers_again(
    client: Client, settings: Any
) -> None:
    await sent(client, said("t1", "/tokens 1 0", "m1"))
    await sent(client, said("t1", "/tokens 2 0", "m2"))
    await sent(client, said("t1", "/tokens 3 0", "m3"))
    settings.CHAT_AGENT = "tests.turns.agents.Recalls"
    second = (await answers())[1]
    await sent(client, again(name=str(second.pk)))
    assert "w1 w2 w3" not in (await current(client))[-1]
    assert "/tokens 2 0" in (await current(client))[-1]


async def test_racing_revisions_leave_one_history(client: Client) -> None:
    await sent(client, said("t1", "/tokens 1 0", "m1"))
    seed = random.randrange(2**32)
    chosen = random.Random(seed)
    bodies = [again(on_busy="stop") for _ in range(6)] + [
        edited(f"/tokens {number} 0", "m1", on_busy="stop") for number in range(1, 7)
    ]
    chosen.shuffle(bodies)
    found = await asyncio.gather(*(client.request("POST", "/api/chat", body) for body in bodies))
    assert {answer.status for answer in found} <= {200, 409}, seed
    thread = await Thread.objects.aget()
    rows = [row async for row in Message.objects.filter(thread=thread, is_current=True).order_by("pk")]
    assert [row.role for row in rows] == ["user", "assistant"], seed
    assert rows[1].parent_id == rows[0].pk, seed
    await sync_to_async(assert_invariants)()
