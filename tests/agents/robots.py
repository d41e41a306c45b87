"""Pydantic AI agents on the library's offline models, to be named in CHAT_PYDANTIC_AGENT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from pydantic_ai import Agent, CustomEvent, DeferredToolRequests, ModelRetry, RunContext, Tool, ToolFailed, ToolReturn
from pydantic_ai.messages import BinaryImage, ModelMessage, ModelRequest, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import ExternalToolset

from chat.agents.base import TurnContext

PIXEL = BinaryImage(b"\x89PNG\r\n\x1a\nnot really", media_type="image/png")
#: What the models were asked, last.
asked: list[ModelMessage] = []


def results(messages: list[ModelMessage]) -> list[ToolReturnPart]:
    """The results of tools since the user said something."""
    last = messages[-1]
    assert isinstance(last, ModelRequest)
    return [part for part in last.parts if isinstance(part, ToolReturnPart)]


async def busy(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
    """Thinks, speaks, calls every tool at once, and tells what came of it."""
    asked[:] = messages
    if not (returned := results(messages)):
        yield {0: DeltaThinkingPart(content="Let me ", signature="")}
        yield {0: DeltaThinkingPart(content="think.", signature="signed")}
        yield "I look "
        yield "it up. "
        yield {1: DeltaToolCall(name="weather", json_args='{"city": ', tool_call_id="w1")}
        yield {1: DeltaToolCall(json_args='"Zürich"}')}
        for number, (name, args) in enumerate(
            [("flaky", '{"times": "x"}'), ("broken", "{}"), ("picture", "{}")], start=2
        ):
            yield {number: DeltaToolCall(name=name, json_args=args, tool_call_id=f"{name}-1")}
    elif any(part.outcome == "retried" for part in returned):
        yield {0: DeltaToolCall(name="flaky", json_args='{"times": 2}', tool_call_id="flaky-2")}
    else:
        yield "Done: "
        yield f"{returned[-1].content}."


Busy = Agent(FunctionModel(stream_function=busy), deps_type=TurnContext, system_prompt="Be brief.")


@Busy.tool
async def weather(ctx: RunContext[TurnContext], city: str) -> dict[str, Any]:
    return {"city": city, "degrees": 7, "asked_by": ctx.deps.user_id}


@Busy.tool_plain
async def flaky(times: int) -> str:
    return f"{times} times"


@Busy.tool_plain
async def broken() -> str:
    raise ToolFailed("The tool is broken.")


@Busy.tool_plain
async def picture() -> ToolReturn[Any]:
    return ToolReturn(
        return_value=["here it is", PIXEL],
        metadata=[{"type": "source-url", "sourceId": "s1", "url": "https://example.org/", "title": "Example"}],
    )


async def careful(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
    """Asks for two mails to be sent, and looks at the clock; then tells what came of it."""
    asked[:] = messages
    if returned := results(messages):
        yield "; ".join(f"{part.tool_name}: {part.content}" for part in returned)
        return
    yield {0: DeltaToolCall(name="clock", json_args="{}", tool_call_id="clock-1")}
    yield {1: DeltaToolCall(name="send_mail", json_args='{"to": "ann"}', tool_call_id="mail-1")}
    yield {2: DeltaToolCall(name="send_mail", json_args='{"to": "bob"}', tool_call_id="mail-2")}


Careful = Agent(FunctionModel(stream_function=careful), deps_type=TurnContext, output_type=[str, DeferredToolRequests])


@Careful.tool_plain
def clock() -> str:
    return "noon"


@Careful.tool_plain(requires_approval=True)
def send_mail(to: str) -> str:
    return f"sent to {to}"


async def remote(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
    """Asks the client where it is, and whether a mail may be sent; then tells what came of it."""
    asked[:] = messages
    if returned := results(messages):
        yield "; ".join(f"{part.tool_name}: {part.content}" for part in returned)
        return
    yield {0: DeltaToolCall(name="place", json_args="{}", tool_call_id="place-1")}
    yield {1: DeltaToolCall(name="send_mail", json_args='{"to": "ann"}', tool_call_id="mail-1")}


Remote = Agent(
    FunctionModel(stream_function=remote),
    deps_type=TurnContext,
    output_type=[str, DeferredToolRequests],
    tools=[Tool(send_mail, requires_approval=True)],
    toolsets=[ExternalToolset([ToolDefinition(name="place", parameters_json_schema={"type": "object"})])],
)


async def patient(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
    yield "Well, "
    await asyncio.Event().wait()


Patient = Agent(FunctionModel(stream_function=patient), deps_type=TurnContext)
Tester = Agent(TestModel(), deps_type=TurnContext)


@Tester.tool_plain
def roll(sides: int) -> int:
    raise ModelRetry("roll again") if sides > 100 else ValueError("the dice are loaded: sk-secret")


@dataclass(kw_only=True)
class Looked(CustomEvent):
    """What a tool tells while it runs."""

    places: int


async def giving_up(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
    """Looks, and then has its second tool cancel the run."""
    name = "stop" if results(messages) else "look"
    yield {0: DeltaToolCall(name=name, json_args="{}", tool_call_id=f"{name}-1")}


GivingUp = Agent(FunctionModel(stream_function=giving_up), deps_type=TurnContext)


@GivingUp.tool
async def look(ctx: RunContext[TurnContext]) -> str:
    await ctx.emit(Looked(places=3))
    return "nothing there"


@GivingUp.tool
async def stop(ctx: RunContext[TurnContext]) -> None:
    ctx.cancel()
    await asyncio.Event().wait()


def made() -> Agent[TurnContext, str]:
    """A function that makes an agent is as good as one."""
    return Agent(TestModel(custom_output_text="made"), deps_type=TurnContext)


not_one = {"an": "agent"}
