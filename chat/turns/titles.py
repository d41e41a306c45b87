"""Titles of new threads: at once the beginning of the first message, and then the agent's, if it makes any.

The agent's comes while the answer is made, or after it: the answer never waits for it, nor fails because of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from chat import conf
from chat.agents.base import Agent, TurnContext
from chat.protocol.chunks import Chunk
from chat.protocol.sanitize import clean_text
from chat.protocol.usage import UsageMeter
from chat.store.crossing import in_thread
from chat.store.threads import replace_title
from chat.store.turns import StoredTurn
from chat.telemetry import event
from chat.turns.envelope import thread_title

logger = logging.getLogger(__name__)

TITLE_CHARS = 80

_making: set[asyncio.Task[None]] = set()


def title_of(said: str) -> str:
    """A text as a title: in one line, cut between words."""
    text = " ".join(said.split())
    if len(text) <= TITLE_CHARS:
        return text
    return text[: TITLE_CHARS - 1].rsplit(" ", 1)[0] + "…"


def begin_title(agent: Agent, turn: StoredTurn, context: TurnContext, show: Callable[[list[Chunk]], bool]) -> None:
    """Let the agent make a title for the thread that the turn has begun, if it has a way to. It is stored unless
    somebody has named the thread meanwhile, and then told to the readers by ``show``, which says whether there are any.
    On the running loop; raises nothing.
    """
    if turn.title and callable(getattr(agent, "title", None)):
        task = asyncio.get_running_loop().create_task(_make(agent, turn, context, show), name=f"title of {turn.pk}")
        _making.add(task)
        task.add_done_callback(_making.discard)


async def _make(agent: Agent, turn: StoredTurn, context: TurnContext, show: Callable[[list[Chunk]], bool]) -> None:
    own = replace(context, usage=UsageMeter())
    try:
        async with asyncio.timeout(conf.get("TITLE_SECONDS")):
            made = await agent.title(own)  # type: ignore[attr-defined]  # an optional method
        title = title_of(clean_text(made)) if isinstance(made, str) else ""
        # Of a turn that has ended the usage is settled, by what the answer cost: nothing is added to it.
        if show([]):
            context.usage.add_of_title(own.usage)
        if not title:
            return
        if await in_thread(replace_title, turn.conversation, title, instead_of=turn.title):
            show([thread_title(turn, title)])
    except Exception as problem:
        name = type(problem).__name__
        told = event("title_failed", turn=turn.pk, conversation=turn.conversation, problem=name)
        logger.warning("thread %s keeps its first title: %s", turn.conversation, name, extra=told)
