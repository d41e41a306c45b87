"""From Pydantic AI's events to chunks and parts, and from stored parts back to its messages: nothing that a provider
wants back is lost on the way.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_ai import Agent, DeferredToolResults
from pydantic_ai.messages import (
    BinaryContent,
    BinaryImage,
    Citation,
    CompactionPart,
    DocumentUrl,
    FilePart,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    NativeToolCallPart,
    NativeToolReturnPart,
    PartEndEvent,
    PartStartEvent,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
    WebCitationSource,
)

from chat.agents.base import TurnContext
from chat.agents.pydantic_ai.chunks import Translator
from chat.agents.pydantic_ai.drive import run_agent
from chat.agents.pydantic_ai.messages import conversation_of
from chat.protocol.canonical import Canonical
from chat.protocol.chunks import Chunk, is_well_formed
from chat.protocol.fold import fold
from chat.protocol.history import model_history
from chat.protocol.replay import replay
from tests.agents import robots
from tests.unit.test_history import MESSAGES

HELLO = {"id": "1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}


def canonical(raw: list[Chunk]) -> list[Chunk]:
    order = Canonical()
    chunks = [chunk for one in raw for chunk in order.feed(one)] + order.park()
    assert order.dropped == 0
    assert all(map(is_well_formed, chunks))
    return chunks


def streamed(*parts: Any, system: str | None = None) -> list[Chunk]:
    """The chunks of one response that comes part by part."""
    translator = Translator()
    translator.begin_response()
    kinds: list[Any] = [None, *(part.part_kind for part in parts), None]
    raw: list[Chunk] = []
    for index, part in enumerate(parts):
        raw += translator.chunks(PartStartEvent(index=index, part=part, previous_part_kind=kinds[index]))
        end = PartEndEvent(index=index, part=part, next_part_kind=kinds[index + 2], canonical_system=system)
        raw += translator.chunks(end)
    return canonical(raw)


def told_again(parts: list[dict[str, Any]], **keys: Any) -> list[ModelMessage]:
    """What a model is told of an answer with these parts, in the next turn."""
    answer = {"id": "2", "role": "assistant", "parts": parts}
    return conversation_of(model_history([HELLO, answer, {**HELLO, "id": "3"}]), **keys).earlier[1:]


def plain(messages: list[ModelMessage]) -> list[list[Any]]:
    return [list(message.parts) for message in messages]


DETAILS = {"encrypted": "x" * 50, "nested": {"list": [1, 2]}}
PARTS: list[list[Any]] = [
    [ThinkingPart("hm", signature="s", provider_name="anthropic"), TextPart("Hi.")],
    [ThinkingPart("", id="redacted_thinking", signature="abc", provider_name="anthropic"), TextPart("Hi.")],
    [ThinkingPart("", id="rs_1", provider_name="openai", provider_details=DETAILS), TextPart("Hi.", id="msg_1")],
    [TextPart("one ", provider_name="x", provider_details={"a": 1}), TextPart("two "), TextPart("three", id="3")],
    [TextPart("Look: "), FilePart(robots.PIXEL, id="f", provider_name="google", provider_details={"thought": "t"})],
    [CompactionPart("all that was", id="c", provider_name="anthropic"), TextPart("Hi.")],
    [
        NativeToolCallPart("web_search", {"q": "x"}, "n1", id="ws_1", provider_name="openai"),
        NativeToolReturnPart("web_search", {"found": 1}, "n1", provider_name="openai", provider_details=DETAILS),
        TextPart("Found."),
    ],
]


@pytest.mark.parametrize("parts", PARTS, ids=lambda parts: "-".join(part.part_kind for part in parts))
def test_what_a_provider_wants_back_survives_the_log_the_database_and_a_replay(parts: list[Any]) -> None:
    chunks = streamed(*parts, system="azure")
    stored = fold(chunks)
    assert fold(replay(stored)) == stored
    (response,) = told_again(stored)
    expected = ModelResponse(parts)
    for part in (*response.parts, *expected.parts):
        if isinstance(part, NativeToolReturnPart):
            part.timestamp = response.timestamp
    assert response.parts == expected.parts
    assert isinstance(response, ModelResponse)
    provider = next((part.provider_name for part in parts if getattr(part, "provider_name", None)), None)
    assert (response.provider_name, response.canonical_system) == (provider, "azure")


def test_calls_and_results_are_paired_and_a_result_s_files_go_with_it() -> None:
    call = {"state": "output-available", "input": {}}
    stored: list[dict[str, Any]] = [
        {"type": "step-start"},
        {"type": "text", "text": "I look.", "state": "done"},
        {"type": "tool-a", "toolCallId": "1", **call, "output": {"x": 1}},
        {"type": "dynamic-tool", "toolName": "b", "toolCallId": "2", **call, "output": "pic"},
        {"type": "file", "url": robots.PIXEL.data_uri, "mediaType": "image/png"},
        {"type": "tool-c", "toolCallId": "3", "state": "output-error", "input": {}, "errorText": "broken"},
        {"type": "tool-d", "toolCallId": "4", "state": "output-denied", "input": {}, "approval": {"reason": "no"}},
        {"type": "step-start"},
        {"type": "text", "text": "Done.", "state": "done"},
    ]
    first, results, second, *rest = told_again(stored)
    assert not rest
    assert [type(part) for part in first.parts] == [TextPart, *[ToolCallPart] * 4]
    returned = [part for part in results.parts if isinstance(part, ToolReturnPart)]
    assert [(part.tool_call_id, part.outcome) for part in returned] == [
        ("1", "success"),
        ("2", "success"),
        ("3", "failed"),
        ("4", "denied"),
    ]
    assert [part.content for part in returned] == [{"x": 1}, ["pic", robots.PIXEL], "broken", "no"]
    assert plain([second]) == [[TextPart("Done.")]]


def test_an_agent_that_names_no_steps_has_one_after_each_result() -> None:
    call = {"type": "tool-a", "toolCallId": "1", "state": "output-available", "input": {}, "output": 1}
    text = {"type": "text", "text": "So.", "state": "done"}
    kinds = [type(message) for message in told_again([{"type": "step-start"}, text, call, text])]
    assert kinds == [ModelResponse, ModelRequest, ModelResponse]


def test_ids_of_calls_are_made_plain_for_providers_that_insist() -> None:
    names = ["f.a:0~2", "f_a_0_2", "x" * 70, "x" * 71]
    calls = [{"type": "tool-a", "toolCallId": name, "state": "output-error", "input": {}} for name in names]
    for strict in (True, False):
        first, second = told_again(calls, strict_ids=strict)
        ids = [part.tool_call_id for part in first.parts if isinstance(part, ToolCallPart)]
        assert ids == [part.tool_call_id for part in second.parts if isinstance(part, ToolReturnPart)]
        assert len(set(ids)) == len(names)
        if strict:
            assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in ids)
            assert ids[1] == names[1]
        else:
            assert ids == names


@pytest.mark.parametrize(
    "metadata",
    [None, "x", {"pydantic_ai": 7}, {"pydantic_ai": {"signature": 7, "provider_details": [], "segments": "x"}}],
)
def test_metadata_of_another_s_making_is_passed_over(metadata: Any) -> None:
    parts = [
        {"type": "reasoning", "text": "hm", "providerMetadata": metadata},
        {"type": "text", "text": "Hi.", "providerMetadata": metadata},
        {"type": "data-provider-metadata", "data": metadata},
        {"type": "file", "url": "data:nonsense", "mediaType": "image/png"},
    ]
    assert plain(told_again(parts)) == [[TextPart("Hi.")]]


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(MESSAGES, st.booleans())
def test_any_stored_history_can_be_told(messages: list[dict[str, Any]], strict: bool) -> None:
    conversation = conversation_of(model_history([*messages, HELLO]), strict_ids=strict)
    assert conversation.prompt
    waiting: set[str] = set()
    for message in conversation.earlier:
        assert message.parts
        for part in message.parts:
            if isinstance(part, ToolCallPart):
                waiting.add(part.tool_call_id)
            elif isinstance(part, ToolReturnPart):
                waiting.remove(part.tool_call_id)
        if isinstance(message, ModelRequest):
            assert not waiting, "each call has its result in the request after it"
    assert not waiting


def test_what_a_user_sends_along_is_content_or_a_url_that_the_provider_reads() -> None:
    pixel = {"type": "file", "url": robots.PIXEL.data_uri, "mediaType": "image/png"}
    urls = [("https://example.org/a.png", "image/png"), ("https://example.org/a.pdf", "application/pdf")]
    local = {"type": "file", "url": "file:///etc/passwd", "mediaType": "text/plain", "filename": "passwd"}
    files = [{"type": "file", "url": url, "mediaType": kind} for url, kind in urls]
    history = model_history([{**HELLO, "parts": [*HELLO["parts"], pixel, *files, local]}])  # type: ignore[misc]
    prompt = conversation_of(history).prompt
    assert isinstance(prompt, list)
    assert [type(one) for one in prompt] == [
        str,
        BinaryImage,
        ImageUrl,
        DocumentUrl,
        str,
    ]
    assert prompt[-1] == "[A file that cannot be read: passwd]"


def test_sources_that_a_text_cites_are_told_once() -> None:
    cited = [Citation([WebCitationSource("https://example.org/", title="Example")])]
    chunks = streamed(TextPart("one ", citations=cited), TextPart("two", citations=cited))
    assert [chunk for chunk in chunks if chunk["type"] == "source-url"] == [
        {
            "type": "source-url",
            "sourceId": "https://example.org/",
            "url": "https://example.org/",
            "title": "Example",
        }
    ]
    assert [part["text"] for part in fold(chunks) if part["type"] == "text"] == ["one two"]


async def asked(agent: Agent[TurnContext, Any], history: list[dict[str, Any]]) -> tuple[list[Chunk], Canonical]:
    turn = TurnContext("t", "m", 7, history, HELLO)
    order = Canonical()
    chunks = [chunk async for raw in run_agent(agent, turn) for chunk in order.feed(raw)]
    return chunks, order


async def test_a_run_that_waits_for_approvals_goes_on_with_the_decisions() -> None:
    agent = robots.Careful
    first, order = await asked(agent, model_history([HELLO]))
    first += order.park()
    waiting = [part for part in fold(first) if part.get("state") == "approval-requested"]
    assert [(part["toolCallId"], part["input"]) for part in waiting] == [
        ("mail-1", {"to": "ann"}),
        ("mail-2", {"to": "bob"}),
    ]
    assert order.finish_reason == "tool-calls"

    decisions = {"mail-1": {"approved": True, "input": {"to": "anna"}}, "mail-2": {"approved": False, "reason": "no"}}
    answer = [
        {**part, "state": "approval-responded", "approval": {**part["approval"], **decisions[part["toolCallId"]]}}
        if part in waiting
        else part
        for part in fold(first)
    ]
    order = Canonical.resume(first)
    turn = TurnContext("t", "m", 7, model_history([HELLO], answer=answer), HELLO)
    assert turn.answer
    second = [chunk async for raw in run_agent(agent, turn) for chunk in order.feed(raw)] + order.complete()
    parts = {part["toolCallId"]: part for part in fold([*first, *second]) if "toolCallId" in part}
    assert parts["mail-1"]["state"] == "output-available"
    assert parts["mail-1"]["output"] == "sent to anna"
    assert parts["mail-2"]["state"] == "output-denied"
    assert not [chunk for chunk in second if chunk["type"].startswith("tool-input")], "what was told is not repeated"
    text = fold([*first, *second])[-1]["text"]
    assert "sent to anna" in text
    assert "no" in text
    assert order.dropped == 0


def test_a_decision_is_what_the_library_takes() -> None:
    part = {"type": "tool-a", "toolCallId": "1", "state": "approval-responded", "input": {}}
    answer = [{**part, "approval": {"id": "1", "approved": True}}]
    conversation = conversation_of(model_history([HELLO], answer=answer))
    assert conversation.prompt is None
    assert isinstance(conversation.decisions, DeferredToolResults)
    assert list(conversation.decisions.approvals) == ["1"]


async def test_the_agent_s_system_prompt_stands_in_front_of_a_history_of_ours() -> None:
    for history in ([HELLO], [HELLO, {**HELLO, "role": "assistant", "id": "2"}, {**HELLO, "id": "3"}]):
        await asked(robots.Busy, model_history(history))
        prompts = [part for message in robots.asked for part in message.parts if isinstance(part, SystemPromptPart)]
        assert [part.content for part in prompts] == ["Be brief."]
        assert robots.asked[0].parts[0] == prompts[0]


def test_a_prompt_of_texts_is_one_text() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert conversation_of([{**HELLO, "parts": parts}]).prompt == "one\n\ntwo"
    image = BinaryContent(b"x", media_type="image/png")
    parts.append({"type": "file", "url": image.data_uri, "mediaType": "image/png"})
    assert isinstance(UserPromptPart(conversation_of([{**HELLO, "parts": parts}]).prompt or ""), UserPromptPart)
