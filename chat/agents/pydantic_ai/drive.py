"""One turn through a Pydantic AI agent: its events as chunks, its calls on the meter, its failures as ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.capabilities import ReinjectSystemPrompt
from pydantic_ai.exceptions import RunCancelled, RunTimedOut
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model

from chat.agents.base import TurnContext
from chat.agents.pydantic_ai.chunks import Translator
from chat.agents.pydantic_ai.configured import AnyAgent, configured_agent, model_of
from chat.agents.pydantic_ai.failures import known_failure
from chat.agents.pydantic_ai.messages import conversation_of
from chat.protocol.chunks import Chunk
from chat.protocol.history import characters

CHARS_PER_TOKEN: Final = 4
FINISH_REASONS: Final = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "tool_call": "tool-calls",
    "error": "error",
}


async def drive(turn: TurnContext) -> AsyncIterator[Chunk]:
    """Answer a turn with the configured agent. Raises AgentError for what providers do, and lets pass what tools raise.

    A run that ends with calls that wait for an approval, or for a result from outside, yields the
    ``tool-approval-request`` of the former and ends: the engine parks it. The leg that goes on has the decisions in
    ``turn.answer``.
    """
    try:
        async for chunk in run_agent(configured_agent(), turn, await model_of(turn)):
            yield chunk
    except RunCancelled as cancelled:  # by a tool
        if isinstance(cancelled, RunTimedOut):
            failure = known_failure(cancelled)
            assert failure is not None
            raise failure from cancelled
        yield {"type": "abort"}
    except Exception as problem:
        failure = known_failure(problem)
        if failure is None:
            raise
        raise failure from problem


async def run_agent(agent: AnyAgent, turn: TurnContext, model: Model | None = None) -> AsyncIterator[Chunk]:
    """The same with any agent; raises what the library raises."""
    conversation = conversation_of(turn.history, strict_ids=_is_strict(model or agent.model))
    translator = Translator()
    reason = "stop"
    async with agent.iter(
        conversation.prompt,
        message_history=conversation.earlier,
        deferred_tool_results=conversation.decisions,
        model=model,
        deps=turn,
        # The history is ours and holds no instructions: the agent's system prompt is put in front of it.
        capabilities=[ReinjectSystemPrompt(replace_existing=False)],
    ) as run:
        async for node in run:
            if Agent.is_model_request_node(node):
                translator.begin_response()
                async with node.stream(run.ctx) as stream:
                    try:
                        async for event in stream:
                            for chunk in translator.chunks(event):
                                yield chunk
                    finally:
                        _meter(turn, stream.response)
                reason = FINISH_REASONS.get(stream.response.finish_reason or "stop", "other")
            elif Agent.is_call_tools_node(node):
                async with node.stream(run.ctx) as events:
                    async for tool_event in events:
                        for chunk in translator.chunks(tool_event):
                            yield chunk
        output = run.result.output if run.result is not None else None
    if isinstance(output, DeferredToolRequests):
        reason = "tool-calls"
        for call in output.approvals:
            yield {
                "type": "tool-approval-request",
                "approvalId": call.tool_call_id,
                "toolCallId": call.tool_call_id,
            }
    yield {"type": "finish", "finishReason": reason}


def _meter(turn: TurnContext, response: ModelResponse) -> None:
    """Note a call, whole or cut off: what the provider says it cost, else a guess by length where it answered."""
    usage = response.usage
    name, provider = response.model_name or turn.model, response.provider_name or ""
    if usage.input_tokens or usage.output_tokens:
        turn.usage.add(
            model=name,
            provider=provider,
            prompt_tokens=usage.input_tokens,
            completion_tokens=usage.output_tokens,
            cached_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.details.get("reasoning_tokens", 0),
        )
        return
    if written := sum(map(_length, response.parts)):
        turn.usage.add(
            model=name,
            provider=provider,
            prompt_tokens=characters(turn.history) // CHARS_PER_TOKEN,
            completion_tokens=max(1, written // CHARS_PER_TOKEN),
            estimated=True,
        )


def _length(part: Any) -> int:
    content = getattr(part, "content", None) or getattr(part, "args", None)
    return len(content if isinstance(content, str) else str(content)) if content else 0


def _is_strict(model: Any) -> bool:
    """Whether the provider refuses ids of tool calls that others make: it wants letters, digits, ``_`` and ``-``."""
    system = model if isinstance(model, str) else getattr(model, "system", "")
    return str(system).startswith(("anthropic", "bedrock"))
