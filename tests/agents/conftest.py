from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from chat.agents.pydantic_ai import configured
from chat.testing.client import Client
from tests.agents.provider import KEY, Answer, Provider, provider
from tests.agents.sends import WORDS, ask, text_of, whole_answer

Start = Callable[[Answer], Awaitable[Provider]]

MODEL = "openai:test-model"


@pytest.fixture
def providers() -> list[Provider]:
    """Those that the test has started."""
    return []


@pytest.fixture
async def start_provider(
    settings: Any, monkeypatch: pytest.MonkeyPatch, providers: list[Provider]
) -> AsyncIterator[Start]:
    """Starts the server that the chat's model is on."""
    async with AsyncExitStack() as stack:

        async def start(answer: Answer) -> Provider:
            mine = await stack.enter_async_context(provider(answer))
            providers.append(mine)
            monkeypatch.setenv("OPENAI_BASE_URL", mine.url)
            monkeypatch.setenv("OPENAI_API_KEY", KEY)
            settings.CHAT_MODEL = MODEL
            return mine

        yield start
        for models in list(configured._models.values()):
            for model in models.values():
                await model.client.close()  # type: ignore[attr-defined]
            models.clear()


@pytest.fixture
async def the_next_message_works(
    client: Client, start_provider: Start, providers: list[Provider], drained: None
) -> AsyncIterator[None]:
    """Whatever the provider has done to a turn in the test: it behaves again, and the next turn is a good one."""
    yield
    for one in providers:
        one.answer = whole_answer
    turn = await ask(client)
    assert (turn.status, await text_of(turn)) == ("completed", "".join(WORDS))


@pytest.fixture(autouse=True)
def nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No key, and nothing that was said, stands in any log line of the test."""
    caplog.set_level(logging.INFO)
    yield
    said = "\n".join(logging.Formatter().format(record) for record in caplog.records)
    for secret in (KEY, "sk-secret", "QUESTION", "ANSWER"):
        assert secret not in said, said
