"""Real HTTP to a provider that breaks in every way: the turn ends with the error that fits, and what was shown stays.

Each goes through the whole engine: the send, the log, the stored end, the usage row, and the next message.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chat.models import Message, TokenUsage
from chat.testing.client import Client
from tests.agents.conftest import Start
from tests.agents.provider import HEAD, KEY, Exchange, event, framed, piece, usage, whole
from tests.agents.sends import EVENTS, STOP, WORDS, ask, failed, text_of, whole_answer
from tests.scale import rounds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("the_next_message_works")]


async def test_an_answer_is_streamed_stored_and_counted(client: Client, start_provider: Start) -> None:
    provider = await start_provider(whole_answer)
    turn = await ask(client)
    row = await TokenUsage.objects.aget()

    assert (turn.status, turn.model, turn.finish_reason) == ("completed", "openai:test-model", "stop")
    assert await text_of(turn) == "".join(WORDS)
    assert (row.source, row.prompt_tokens, row.completion_tokens, row.cached_tokens) == ("reported", 11, 7, 3)
    assert list(row.model_breakdown) == ["test-model"]
    asked = provider.asked[0]
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body["messages"] == [{"role": "user", "content": "QUESTION"}]
    assert asked.body["stream"] is True


async def test_the_instructions_and_what_was_said_go_along(
    client: Client, start_provider: Start, settings: Any
) -> None:
    settings.CHAT_INSTRUCTIONS = "Be brief."
    provider = await start_provider(whole_answer)
    await ask(client)
    await ask(client)
    assert [(one["role"], one["content"]) for one in provider.asked[1].body["messages"]] == [
        ("system", "Be brief."),
        ("user", "QUESTION"),
        ("assistant", "".join(WORDS)),
        ("user", "QUESTION"),
    ]


BODY = whole(*EVENTS)[len(HEAD) :]
UNTIL_REASON = BODY.index(STOP) + len(STOP)
# Within a character of two bytes and one of four, within the length of a chunk, and between its CR and LF.
LENGTH = BODY.index(b"\r\n", 1000)
ODD = {BODY.index("naïve".encode()[2:4]) + 1, BODY.index("😀".encode()) + 2, LENGTH - 1, LENGTH, LENGTH + 1}
AWAY = sorted({*range(0, UNTIL_REASON, rounds(97, 1)), *ODD})


@pytest.mark.proof
@pytest.mark.parametrize("place", AWAY)
async def test_a_connection_that_is_reset_at_any_byte_leaves_what_came(
    client: Client, start_provider: Start, place: int
) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(HEAD + BODY[:place])
        await asyncio.sleep(0.02)  # a reset overtakes what was sent
        exchange.reset()

    await start_provider(answer)
    turn = await failed(client, "model_unreachable")
    text = await text_of(turn)
    assert "".join(WORDS).startswith(text)
    assert all((word in text) == (BODY.find(piece(word)) + len(piece(word)) <= place) for word in WORDS)


@pytest.mark.parametrize("place", [0, 30])
async def test_a_server_that_resets_before_it_answers_is_asked_again_and_then_given_up(
    client: Client, start_provider: Start, place: int
) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(HEAD[:place])
        exchange.reset()

    provider = await start_provider(answer)
    await failed(client, "model_unreachable")
    assert len(provider.asked) == 3
    assert (await TokenUsage.objects.aget()).source == "missing"


async def test_an_end_without_a_reason_is_a_broken_connection(client: Client, start_provider: Start) -> None:
    async def answer(exchange: Exchange) -> None:
        # Without a length an end is like any other: this is how a proxy tells that its upstream died.
        await exchange.send(HEAD.replace(b"transfer-encoding: chunked\r\n", b"") + piece("ANSWER"))
        exchange._writer.close()

    await start_provider(answer)
    assert await text_of(await failed(client, "model_unreachable")) == "ANSWER"


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, {"message": f"{KEY} QUESTION", "code": "invalid_value"}, "model_rejected"),
        (400, {"message": "maximum context length", "code": "context_length_exceeded"}, "conversation_too_long"),
        (401, {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}, "model_misconfigured"),
        (404, {"message": "no such model", "code": "model_not_found"}, "model_misconfigured"),
        (429, {"message": "pay first", "code": "insufficient_quota"}, "model_quota_spent"),
        (500, {"message": f"{KEY}"}, "model_unavailable"),
        (503, {"message": "overloaded"}, "model_unavailable"),
    ],
)
async def test_a_refusal_has_its_code(
    client: Client, start_provider: Start, status: int, error: dict[str, Any], code: str
) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.refuse(status, error, x_should_retry="false")

    await start_provider(answer)
    await failed(client, code)


async def test_too_many_requests_are_waited_for_as_long_as_the_server_says(
    client: Client, start_provider: Start
) -> None:
    moments: list[float] = []

    async def answer(exchange: Exchange) -> None:
        moments.append(asyncio.get_running_loop().time())
        if len(moments) == 1:
            await exchange.refuse(429, retry_after="1")
        else:
            await whole_answer(exchange)

    await start_provider(answer)
    turn = await ask(client)
    assert turn.status == "completed"
    assert moments[1] - moments[0] >= 1


async def test_too_many_requests_for_too_long_say_when_to_come_back(client: Client, start_provider: Start) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.refuse(429, retry_after="20", x_should_retry="false")

    await start_provider(answer)
    turn = await failed(client, "model_rate_limited")
    assert turn.error_text == "The model has too much to do. Try again in 20 seconds."


@pytest.mark.parametrize(("events", "code"), [((), "model_confused"), (EVENTS[:1], "model_unreachable")])
async def test_an_empty_answer_is_a_broken_one(
    client: Client, start_provider: Start, events: tuple[bytes, ...], code: str
) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.stream(*events)

    await start_provider(answer)
    assert await text_of(await failed(client, code)) == ""


async def test_an_error_in_mid_stream_has_its_code(client: Client, start_provider: Start) -> None:
    async def answer(exchange: Exchange) -> None:
        error = b'data: {"error": {"message": "sk-secret", "code": "server_is_overloaded"}}\n\n'
        await exchange.stream(piece("ANSWER"), error)

    await start_provider(answer)
    assert await text_of(await failed(client, "model_unavailable")) == "ANSWER"


async def test_an_answer_that_is_no_json_is_a_broken_one(client: Client, start_provider: Start) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.stream(piece("ANSWER"), b"data: {sk-secret ANSWER\n\n")

    await start_provider(answer)
    assert await text_of(await failed(client, "model_unreachable")) == "ANSWER"


async def test_the_next_message_works_after_a_fault(client: Client, start_provider: Start) -> None:
    async def answer(exchange: Exchange) -> None:
        if len(provider.asked) == 1:
            await exchange.send(HEAD + framed(piece("ANSWER")))
            exchange.reset()
        else:
            await whole_answer(exchange)

    provider = await start_provider(answer)
    await failed(client, "model_unreachable")
    turn = await ask(client)
    assert turn.status == "completed"
    assert [one["content"] for one in provider.asked[1].body["messages"]] == [
        "QUESTION",
        "ANSWER",
        "[The answer above failed before its end.]\n\nQUESTION",
    ]


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_character_that_is_split_between_packets_is_whole(
    client: Client, start_provider: Start, size: int
) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(HEAD)
        body = b"".join(EVENTS)
        for place in range(0, len(body), size):
            await exchange.send(framed(body[place : place + size]))
            if place % 64 == 0:
                await asyncio.sleep(0)
        await exchange.send(b"0\r\n\r\n")

    await start_provider(answer)
    assert await text_of(await ask(client)) == "".join(WORDS)


async def test_usage_that_is_left_out_is_estimated(client: Client, start_provider: Start) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.stream(*EVENTS[:-1])

    await start_provider(answer)
    await ask(client)
    row = await TokenUsage.objects.aget()
    assert (row.source, row.prompt_tokens) == ("estimated", len("QUESTION") // 4)
    assert row.completion_tokens > 0


async def test_usage_that_is_said_twice_is_counted_once(client: Client, start_provider: Start) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.stream(*EVENTS, usage())

    await start_provider(answer)
    await ask(client)
    row = await TokenUsage.objects.aget()
    assert (row.source, row.prompt_tokens, row.completion_tokens) == ("reported", 11, 7)


async def test_what_the_cache_held_and_took_is_priced_as_such_under_the_providers_name(
    client: Client, start_provider: Start, settings: Any
) -> None:
    counts = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}
    told = event(
        choices=[], usage={**counts, "prompt_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 100}}
    )

    async def answer(exchange: Exchange) -> None:
        await exchange.stream(*EVENTS[:-1], told)

    settings.CHAT_PRICES = {
        "openai:test-model": {"input": 10, "output": 20, "cache_read": 1, "cache_write": 12},
        "test-model": {"input": 0, "output": 0},
    }
    await start_provider(answer)
    await ask(client)
    (call,) = (await TokenUsage.objects.aget()).call_details["calls"]
    assert (call["provider"], call["priced_by"], call["cache_write_tokens"]) == ("openai", "settings", 100)
    assert call["cost_micros"] == 500 * 10 + 10 * 20 + 400 * 1 + 100 * 12


async def test_reasoning_and_tool_calls_of_the_wire_are_parts(client: Client, start_provider: Start) -> None:
    """A model that calls a tool nobody has: the call is refused, and it goes on."""
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "search", "arguments": '{"q": "x"}'}}

    async def answer(exchange: Exchange) -> None:
        if len(provider.asked) == 1:
            parts = (piece(reasoning_content="hm "), piece(tool_calls=[call]), piece(finish="tool_calls"))
            await exchange.stream(*parts, usage())
        else:
            await whole_answer(exchange)

    provider = await start_provider(answer)
    turn = await ask(client)
    message = await Message.objects.aget(role="assistant")
    shapes = [(part["type"], part.get("state")) for part in message.parts]
    assert turn.status == "completed"
    assert shapes == [
        ("step-start", None),
        ("reasoning", "done"),
        ("tool-search", "output-error"),
        ("step-start", None),
        ("text", "done"),
    ]
    row = await TokenUsage.objects.aget()
    assert (len(row.call_details["calls"]), row.prompt_tokens) == (2, 22)
    # What the provider wants back, it gets back, in the turn and in the next.
    await ask(client)
    for asked in provider.asked[1:]:
        calling = next(one for one in asked.body["messages"] if one.get("tool_calls"))
        assert calling["reasoning_content"] == "hm "
        assert calling["tool_calls"][0]["id"] == "call_1"


async def test_an_unknown_event_is_no_end(client: Client, start_provider: Start) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.stream(b": keep-alive\n\n", event(choices=None), *EVENTS)

    await start_provider(answer)
    assert (await ask(client)).status == "completed"
