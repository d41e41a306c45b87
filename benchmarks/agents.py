"""CPU per streamed token of an agent, without engine, network or database: the library alone, the library through
``chat.agents.pydantic_ai``, and an agent that is a plain generator::

    python -m benchmarks.agents [--tokens 10000] [--rounds 7]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from statistics import median
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
os.environ.setdefault("DEBUG", "1")

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, PartDeltaEvent
from pydantic_ai.models.function import AgentInfo, FunctionModel

from chat.agents.base import TurnContext
from chat.agents.pydantic_ai.drive import run_agent

MOST = 0.15  # what driving the library may cost over the library alone
SAID = {"id": "1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}


def turn() -> TurnContext:
    return TurnContext(thread_id="t", turn_id="1", user_id=1, history=[SAID], message=SAID)


def model_of(tokens: int) -> FunctionModel:
    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        for number in range(tokens):
            yield f"w{number} "

    return FunctionModel(stream_function=stream)


async def alone(agent: Agent[TurnContext, str]) -> int:
    """The library as its own documentation drives it."""
    count = 0
    async with agent.iter("Hello", deps=turn()) as run:
        async for node in run:
            if Agent.is_model_request_node(node):
                async with node.stream(run.ctx) as events:
                    async for event in events:
                        count += isinstance(event, PartDeltaEvent)
    return count


async def driven(agent: Agent[TurnContext, str]) -> int:
    return len([chunk async for chunk in run_agent(agent, turn()) if chunk["type"] == "text-delta"])


async def plain(tokens: int) -> int:
    async def run(turn: TurnContext) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "text-start", "id": "1"}
        for number in range(tokens):
            yield {"type": "text-delta", "id": "1", "delta": f"w{number} "}
        yield {"type": "text-end", "id": "1"}

    return len([chunk async for chunk in run(turn()) if chunk["type"] == "text-delta"])


def cost(work: Callable[[], Awaitable[int]]) -> float:
    """Microseconds of CPU per token."""

    async def timed() -> float:
        before = time.process_time()
        count = await work()
        return (time.process_time() - before) * 1e6 / count

    return asyncio.run(timed())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    agent: Agent[TurnContext, str] = Agent(model_of(chosen.tokens), deps_type=TurnContext)
    works: dict[str, Callable[[], Awaitable[int]]] = {
        "the library alone": lambda: alone(agent),
        "through chat.agents.pydantic_ai": lambda: driven(agent),
        "a plain agent": lambda: plain(chosen.tokens),
    }
    for work in works.values():
        cost(work)  # what is done once is done
    costs = [{name: cost(work) for name, work in works.items()} for _ in range(chosen.rounds)]
    for name in works:
        print(f"{name:34}{median(round_[name] for round_ in costs):8.1f} µs of CPU per token")
    library, through, _ = works
    ratio = median(round_[through] / round_[library] for round_ in costs) - 1
    print(f"{'over the library alone':34}{ratio:8.1%}, at most {MOST:.0%}: {'reached' if ratio <= MOST else 'missed'}")


if __name__ == "__main__":
    main()
